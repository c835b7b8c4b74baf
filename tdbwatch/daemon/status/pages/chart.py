"""A small chart of the last hour, as SVG. Pure."""

from itertools import groupby

from tdbwatch.daemon.status.history import MINUTES, Hour
from tdbwatch.daemon.status.pages.markup import Markup, element, small
from tdbwatch.daemon.words import counted

_HEIGHT = 20


def activity(hour: Hour, what: str) -> Markup:
    """How many come in a minute now, beside a bar for each minute of the last hour.

    Args:
        what: whose it is, for those who cannot see it.
    """
    if not hour.total:
        return Markup("-")
    return element("span", _chart(hour, what), small(f"{_rate(hour.per_minute)}/min"), class_="whole")


def _rate(per_minute: float) -> str:
    return f"{per_minute:,.0f}" if per_minute >= 10 else f"{per_minute:.1f}".removesuffix(".0")


def _chart(hour: Hour, what: str) -> Markup:
    most = max(hour.minutes)
    said = f"{counted(hour.total, 'event')} in the last hour, at most {most:,} in a minute"
    return element(
        "svg",
        element("title", f"{what}: {said}"),
        element("path", d=_outline(hour.minutes, most)),
        viewBox=f"0 0 {MINUTES} {_HEIGHT}",
        role="img",
        class_="chart",
        preserveAspectRatio="none",
    )


def _outline(minutes: tuple[int, ...], most: int) -> str:
    """Bars without a line between them; where there was anything, one sees it."""
    steps = [f"V{_HEIGHT - _height(count, most)}h{len(list(same))}" for count, same in groupby(minutes)]
    return f"M0 {_HEIGHT}{''.join(steps)}V{_HEIGHT}z"


def _height(count: int, most: int) -> int:
    return max(1, round(count / most * _HEIGHT)) if count else 0
