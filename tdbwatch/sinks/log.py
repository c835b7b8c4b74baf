"""The log sink: one readable line for each event, through the daemon's own logging."""

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
    sink,
)
from tdbwatch.plugin.jsonable import to_jsonable
from tdbwatch.sinks.text import printable

Level = Literal["debug", "info", "warning", "error", "critical"]

_MAX_PAYLOAD: Final = 8192
"""Bytes of MessagePack; what is larger is named by its size, since a log line is for reading."""
_MAX_NAME: Final = 200
"""Characters of a name: emitters choose it, and its length."""

STRICT: Final = ContextVar("STRICT", default=False)
"""Whether a log that cannot be written is an error for who logs: no event is delivered without its line."""


class LogOptions(Options):
    """Options of `type: log`."""

    level: Level = Field("info", description="Level of the lines.")
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
        log, written = self.context.log, 0
        token = STRICT.set(True)
        try:
            for event in batch:
                getattr(log, self.level_of(event))(message_of(event), **fields_of(event))
                written += 1
        except OSError as error:
            again = Retry(f"the log cannot be written: {error.strerror or error}")
            return [*[DELIVERED] * written, *[again] * (len(batch) - written)] if written else again
        finally:
            STRICT.reset(token)
        return None

    def level_of(self, event: Event) -> Level:
        """The level that the options give to this event."""
        for glob, level in self._levels:
            if fnmatchcase(event.event, glob):
                return level
        return self._level


def message_of(event: Event) -> str:
    """The line's text: where, what, and why: `alerts: disk-full`, `alerts: gap (lost the connection)`."""
    if event.kind == Kind.EVENT:
        return f"{_name(event.room)}: {_name(event.event)}"
    details = event.details
    where = _name(str(event.room or details.get("node") or event.kind))
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
