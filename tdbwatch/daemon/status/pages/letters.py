"""The page of dead letters: which events sinks never took, and why. Pure."""

from collections.abc import Sequence
from urllib.parse import urlencode

from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.health import problems, state_of
from tdbwatch.daemon.status.pages.frame import commands, frame
from tdbwatch.daemon.status.pages.markup import Column, Markup, element, section, small, span, table
from tdbwatch.daemon.status.pages.times import when
from tdbwatch.daemon.status.snapshot import SinkView, Snapshot
from tdbwatch.redaction import presentable

_NAMED = 200
"""Characters of an event's name that are shown: emitters choose it."""
_UNREADABLE = "The spool cannot be read now; the log says why."


def render(snapshot: Snapshot, letters: Sequence[DeadLetter] | None, sink: str | None) -> str:
    """The whole document.

    Args:
        letters: the newest first; None: they cannot be read.
        sink: of which sink they are; None: of all.
    """
    columns: tuple[Column[DeadLetter], ...] = (
        Column("Event", _event),
        Column("Sink", lambda letter: letter.sink),
        Column("Room", lambda letter: span(_said(letter.entry.event.room), small(letter.entry.event.scope))),
        Column("Given up", lambda letter: when(letter.dead_us, snapshot.taken_us)),
        Column("Attempts", lambda letter: f"{letter.attempts:,}", "number"),
        Column("Reason", _reason, "note"),
    )
    if letters is None:
        shown = element("p", _UNREADABLE)
    elif not letters:
        shown = element("p", "None: sinks took all that they were given.")
    else:
        shown = table("Dead letters", columns, letters)
    remark = "" if not letters else f"the last {len(letters):,}, newest first"
    title = "Dead letters" if sink is None else f"Dead letters of {sink}"
    return frame(
        snapshot,
        state_of(snapshot, problems(snapshot)),
        "letters",
        "page",
        _sinks(snapshot, sink),
        section(title, remark, shown),
    )


def _sinks(snapshot: Snapshot, chosen: str | None) -> Markup:
    """What to do, for each sink that has some; and the way to its own."""
    items = [
        _sink(sink, snapshot)
        for sink in snapshot.sinks
        if sink.dead_letters is not None and sink.dead_letters.count and chosen in {None, sink.courier.sink}
    ]
    every = [element("p", element("a", "Those of all sinks", href="letters"))] if chosen is not None else []
    return element("section", *every, element("ul", *items), class_="todo") if items or every else Markup("")


def _sink(sink: SinkView, snapshot: Snapshot) -> Markup:
    name, count = sink.courier.sink, sink.dead_letters.count if sink.dead_letters is not None else 0
    link = element("a", name, href="letters?" + urlencode({"sink": name}))
    remedy = element("span", *commands(remedies.dead_letters(sink, snapshot.spool)), class_="remedy")
    return element("li", element("b", link), f" has {count:,}. ", remedy)


def _event(letter: DeadLetter) -> Markup:
    return span(presentable(letter.entry.event.event, _NAMED), small(letter.entry.event.id))


def _reason(letter: DeadLetter) -> Markup:
    first = "" if letter.first_error in {letter.reason, letter.last_error} else letter.first_error
    last = "" if letter.last_error == letter.reason else letter.last_error
    others = [f"{label}: {_said(text)}" for label, text in (("At first", first), ("Last", last)) if text]
    return span(_said(letter.reason), *map(small, others))


def _said(text: str) -> str:
    return presentable(text)
