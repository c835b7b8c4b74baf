"""The frame of every page: one HTML document that needs nothing else. Pure.

The style and the scripts are allowed by their hashes: whatever an event or an error says, it can never run.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Final
from urllib.parse import quote

from tdbwatch.daemon.status.pages.markup import Markup, element
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.wording import HEADLINES
from tdbwatch.daemon.words import duration

PAGES: Final = {"./": "Status", "tail": "Events", "letters": "Dead letters", "config": "Configuration"}
"""What there is to see for people, and what it is called."""
FOR_PROGRAMS: Final = ("status.json", "metrics", "readyz")
_AGAIN: Final = 10
"""Seconds after which a page without script is loaded again."""


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_STYLE: Final = _resource("page.css")
SCRIPTS: Final[Mapping[str, str]] = {name: _resource(f"{name}.js") for name in ("page", "tail")}
POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {' '.join(map(_hash, SCRIPTS.values()))}; "
    "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy that every answer is sent with."""
_COLOURS: Final = {"ok": "#1a9c50", "warning": "#e69500", "trouble": "#d92027", "idle": "#7a8594"}


def frame(snapshot: Snapshot, state: str, here: str, script: str, *main: Markup) -> str:
    """A whole document; its title and icon say how it is, whatever page is looked at.

    Args:
        state: `state_of` the snapshot.
        here: which of the pages it is.
        script: the name of its script, which shows what is new; empty: nothing is.
    """
    css, headline, _ = HEADLINES[state]
    title = headline if here == "./" else f"{PAGES[here]} ({headline})"
    again = f'<meta http-equiv="refresh" content="{_AGAIN}">'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        + (f"<noscript>{again}</noscript>" if script else "")
        + element("title", f"{title} - tdbwatch on {snapshot.host}")
        + f'<link rel="icon" href="{_icon(_COLOURS[css])}"><style>{_STYLE}</style></head><body>'
        + element("p", id="stale", class_="trouble", role="alert", hidden=True)
        + element("main", _header(snapshot, here), *main)
        + (f"<script>{SCRIPTS[script]}</script>" if script else "")
        + "</body></html>\n"
    )


def _header(snapshot: Snapshot, here: str) -> Markup:
    pages = [
        element("a", name, href=path, aria_current="page" if path == here else "")
        for path, name in PAGES.items()
    ]
    programs = [element("a", name, href=name, class_="soft") for name in FOR_PROGRAMS]
    return element(
        "header",
        element("h1", "tdbwatch on ", element("b", snapshot.host)),
        element("p", f"{snapshot.version}, up {duration(snapshot.uptime)}"),
        element("nav", *pages, *programs),
    )


def _icon(colour: str) -> str:
    circle = f"<circle cx='8' cy='8' r='7' fill='{colour}'/>"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>{circle}</svg>"
    return f"data:image/svg+xml,{quote(svg)}"


def commands(text: str) -> list[str]:
    """The text, with what stands in backticks as code."""
    return [element("code", part) if at % 2 else part for at, part in enumerate(text.split("`"))]
