"""The status page. Pure: a snapshot in, text out.

It works without JavaScript; with it, it shows itself again every few seconds without a flicker.
"""

from collections.abc import Sequence
from typing import Final

from tdbwatch.daemon.status.health import Problem, problems, state_of
from tdbwatch.daemon.status.history import NO_HISTORY, History
from tdbwatch.daemon.status.pages.frame import commands, frame
from tdbwatch.daemon.status.pages.markup import Markup, element
from tdbwatch.daemon.status.pages.missed import gaps
from tdbwatch.daemon.status.pages.rooms import EVERYTHING, Choice, rooms
from tdbwatch.daemon.status.pages.tables import nodes, sinks, spool
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.wording import HEADLINES
from tdbwatch.plugin.event import format_time

MAX_SHOWN: Final = 12
"""Problems of a list at the top: whoever has a hundred needs to see where to begin."""


def render(snapshot: Snapshot, history: History = NO_HISTORY, choice: Choice = EVERYTHING) -> str:
    """The whole document.

    Args:
        choice: which rooms are shown, where there are very many.
    """
    found = problems(snapshot)
    state = state_of(snapshot, found)
    return frame(snapshot, state, "./", "page", *_parts(snapshot, history, choice, found))


def _parts(snapshot: Snapshot, history: History, choice: Choice, found: tuple[Problem, ...]) -> list[Markup]:
    as_of = f"As of {format_time(snapshot.taken_us)[:19]}Z (UTC). All counters since the start."
    return [
        _state(snapshot, found),
        nodes(snapshot),
        rooms(snapshot, history, choice),
        sinks(snapshot, history),
        spool(snapshot),
        gaps(snapshot),
        element("footer", as_of),
    ]


# -- what is wrong, and what to do -----------------------------------------------------------------------


def _state(snapshot: Snapshot, found: tuple[Problem, ...]) -> Markup:
    css, headline, explanation = HEADLINES[state_of(snapshot, found)]
    shown = [problem for problem in found if problem.part != "daemon" or snapshot.phase == "stopping"]
    blocking = _items([problem for problem in shown if problem.blocking])
    others = _items([problem for problem in shown if not problem.blocking])
    between = "It still waits for:" if snapshot.phase == "stopping" else "Also:"
    also = [element("p", between)] if others and (blocking or css == "ok") else []
    content = [*blocking, *also, *others]
    title = (element("h2", headline), element("p", explanation))
    return element("section", *title, *content, class_=f"state {css}", aria_live="polite")


def _items(found: Sequence[Problem]) -> list[Markup]:
    items = [_item(problem) for problem in found[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        items.append(element("li", f"and {len(found) - MAX_SHOWN:,} more, see below"))
    return [element("ul", *items)] if items else []


def _item(problem: Problem) -> Markup:
    remedy = element("span", "To do: ", *commands(_sentence(problem.remedy)), class_="remedy")
    said = [element("b", problem.subject), problem.text]
    return element("li", *said, *([remedy] if problem.remedy else []))


def _sentence(text: str) -> str:
    """What is also said after a colon in the log begins with a capital here."""
    return text[:1].upper() + text[1:]
