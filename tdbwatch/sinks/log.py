"""The log sink: one readable line for each event, through the daemon's own logging."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Sequence
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from pydantic import Field

from tdbwatch.plugin import (
    DELIVERED,
    Event,
    Kind,
    Options,
    Outcome,
    Retry,
    Sink,
    SinkContext,
    Template,
    TemplateError,
    sink,
)
from tdbwatch.plugin.jsonable import to_jsonable
from tdbwatch.printable import printable

Level = Literal["debug", "info", "warning", "error", "critical"]

_MAX_PAYLOAD: Final = 8192
"""Bytes of MessagePack; what is larger is named by its size, since a log line is for reading."""
_MAX_MESSAGE: Final = 2000
"""Characters of a line's text that a template makes."""
_MAX_NAME: Final = 200
"""Characters of a name: emitters choose it, and its length."""


class Receipt:
    """What became of the lines of one call of a log sink: told in their order, by any thread.

    Attributes:
        lines: how many were handed over.
        written: how many of them stand in the log.
        error: why the next one does not; None: nothing failed.
        refused: whether there was no space for a further one.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.written = 0
        self.error: OSError | None = None
        self.refused = False
        self._abandoned = False
        self._waited_for = False
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether further lines should be written: none should overtake one that failed."""
        return self.error is None and not self._abandoned

    def tell(self, error: OSError | None) -> None:
        """The next line was written, or could not be."""
        if error is None:
            self.written += 1
        else:
            self.error = error
        if self._waited_for and self._is_settled() and not self._abandoned:
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._settled.set)

    async def settled(self) -> None:
        """Return when it is known of every line. If cancelled, no further one will be written."""
        self._waited_for = True
        try:
            if not self._is_settled():
                await self._settled.wait()
        finally:
            self._abandoned = not self._is_settled()

    def _is_settled(self) -> bool:
        return self.error is not None or self.written == self.lines


RECEIPT: Final[ContextVar[Receipt | None]] = ContextVar("RECEIPT", default=None)
"""Set while a log sink writes: it delivers no event without its line. To others the log is a courtesy."""


class LogOptions(Options):
    """Options of `type: log`."""

    level: Level = Field("info", description="Level of the lines.")
    message: Template | None = Field(
        None, description="The line's text: a template; by default `room: event`."
    )
    levels: dict[str, Level] = Field(
        default_factory=dict,
        description="Levels by glob on the event's name; the first that matches counts.",
    )


@sink("log", threaded=False)
class LogSink(Sink):
    """Writes each event as a line of tdbwatch's own log."""

    Options = LogOptions

    def __init__(self, options: LogOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._level = options.level
        self._levels = tuple(options.levels.items())

    async def deliver(self, batch: Sequence[Event]) -> Retry | list[Outcome] | None:
        """What the log has no space for now is left for the next call."""
        receipt, ends = Receipt(), list[int]()  # how many lines stand when an event's own does
        token = RECEIPT.set(receipt)
        try:
            for event in batch:
                self._log(event)
                if receipt.refused or receipt.error:
                    break
                ends.append(receipt.lines)
        finally:
            RECEIPT.reset(token)
        await receipt.settled()
        done = bisect_right(ends, receipt.written)
        if done == len(batch):
            return None
        if receipt.error is None and done:
            return [DELIVERED] * done
        again = Retry(_why_not(receipt))
        return [*[DELIVERED] * done, *[again] * (len(batch) - done)] if done else again

    def _log(self, event: Event) -> None:
        getattr(self.context.log, self.level_of(event))(self._message_of(event), **fields_of(event))

    def _message_of(self, event: Event) -> str:
        """What cannot be rendered is logged all the same."""
        if self.options.message is None:
            return message_of(event)
        try:
            return printable(self.options.message.render_line(event)[:_MAX_MESSAGE])
        except TemplateError as error:
            return f"{message_of(event)} (its message cannot be rendered: {error})"

    def level_of(self, event: Event) -> Level:
        """The level that the options give to this event."""
        for glob, level in self._levels:
            if fnmatchcase(event.event, glob):
                return level
        return self._level


def _why_not(receipt: Receipt) -> str:
    if receipt.error is None:
        return "the log cannot be written: nobody reads it, and too many lines wait already"
    return f"the log cannot be written: {receipt.error.strerror or receipt.error}"


def message_of(event: Event) -> str:
    """The line's text: where, what, and why: `alerts: disk-full`, `alerts: gap (lost the connection)`."""
    if event.kind == Kind.EVENT:
        return f"{_name(event.room)}: {_name(event.event)}"
    details = event.details
    where = _name(str(event.room or details.get("node") or details.get("sink") or event.kind))
    what = _name(event.event if event.event in ("", event.kind) else f"{event.kind} {event.event}")
    why = details.get("reason")
    return f"{where}: {what}" + (f" ({_name(str(why))})" if why else "")


def fields_of(event: Event) -> dict[str, Any]:
    """The line's fields. `event` is what structlog calls the text, so the event's name is `name`."""
    fields: dict[str, Any] = {
        "kind": event.kind,
        "scope": _name(event.scope),
        "room": _name(event.room),
        "name": _name(event.event),
        "event_id": event.id,
    }
    try:
        return fields | _content(event)
    except RecursionError:  # nested deeper than Python, or whoever renders the line, can follow
        return fields | {"args": f"({len(event.payload)} bytes)"}


def _content(event: Event) -> dict[str, Any]:
    """What the event carries, by the name that suits it."""
    if len(event.payload) > _MAX_PAYLOAD:
        return {"args": f"({len(event.payload)} bytes)"}
    if event.kind != Kind.EVENT:
        return {"details": to_jsonable(event.details)}
    if event.arg_names:
        return {"data": to_jsonable(event.data)}
    return {"args": to_jsonable(event.args)}


def _name(text: str) -> str:
    """A name as a line can hold it."""
    return printable(text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 4] + " ...")
