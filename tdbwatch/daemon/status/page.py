"""The status page: one HTML document that needs nothing else. Pure: a snapshot in, text out.

It works without JavaScript; with it, it shows itself again every few seconds without a flicker. The style and
the script are allowed by their hashes, so whatever an event or an error says, it can never run.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Final
from urllib.parse import quote

from tdbwatch.daemon.status.health import Problem, problems, state_of
from tdbwatch.daemon.status.markup import Markup, element
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.tables import gaps, nodes, rooms, sinks, spool
from tdbwatch.daemon.words import duration
from tdbwatch.plugin.event import format_time


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_STYLE: Final = _resource("page.css")
_SCRIPT: Final = _resource("page.js")
POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy that the page is sent with."""

MAX_SHOWN: Final = 12
"""Problems of a list at the top: whoever has a hundred needs to see where to begin."""
_HEADLINES: Final = {
    "ok": ("ok", "All is well", "Events come in, are kept, and go out."),
    "warning": ("warning", "Working, but have a look", "Events flow. This needs attention:"),
    "trouble": ("trouble", "Trouble", "Not ready, because of this:"),
    "starting": ("idle", "Starting", "Connecting to ThingsDB."),
    "stopping": ("idle", "Stopping", "It ends by itself; there is nothing to do."),
    "failed": ("trouble", "Broken", "A part of it died; it ends, to be started again."),
}
_COLOURS: Final = {"ok": "#1a9c50", "warning": "#e69500", "trouble": "#d92027", "idle": "#7a8594"}


def render(snapshot: Snapshot) -> str:
    """The whole document."""
    found = problems(snapshot)
    css, headline, _ = _HEADLINES[state_of(snapshot, found)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<noscript><meta http-equiv="refresh" content="10"></noscript>'
        + element("title", f"{headline} - tdbwatch on {snapshot.host}")
        + f'<link rel="icon" href="{_icon(_COLOURS[css])}"><style>{_STYLE}</style></head><body>'
        + element("p", id="stale", class_="trouble", role="alert", hidden=True)
        + element("main", *_parts(snapshot, found))
        + f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _parts(snapshot: Snapshot, found: tuple[Problem, ...]) -> list[Markup]:
    as_of = f"As of {format_time(snapshot.taken_us)[:19]}Z (UTC). All counters since the start."
    return [
        _header(snapshot),
        _state(snapshot, found),
        nodes(snapshot),
        rooms(snapshot),
        sinks(snapshot),
        spool(snapshot),
        gaps(snapshot),
        element("footer", as_of),
    ]


def _header(snapshot: Snapshot) -> Markup:
    links = [element("a", name, href=name) for name in ("status.json", "metrics", "readyz")]
    return element(
        "header",
        element("h1", "tdbwatch on ", element("b", snapshot.host)),
        element("p", f"{snapshot.version}, up {duration(snapshot.uptime)}"),
        element("nav", *links),
    )


def _icon(colour: str) -> str:
    circle = f"<circle cx='8' cy='8' r='7' fill='{colour}'/>"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>{circle}</svg>"
    return f"data:image/svg+xml,{quote(svg)}"


# -- what is wrong, and what to do -----------------------------------------------------------------------


def _state(snapshot: Snapshot, found: tuple[Problem, ...]) -> Markup:
    css, headline, explanation = _HEADLINES[state_of(snapshot, found)]
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
    remedy = element("span", "To do: ", *_commands(_sentence(problem.remedy)), class_="remedy")
    said = [element("b", problem.subject), problem.text]
    return element("li", *said, *([remedy] if problem.remedy else []))


def _sentence(text: str) -> str:
    """What is also said after a colon in the log begins with a capital here."""
    return text[:1].upper() + text[1:]


def _commands(text: str) -> list[str]:
    """The text, with what stands in backticks as code."""
    return [element("code", part) if at % 2 else part for at, part in enumerate(text.split("`"))]
