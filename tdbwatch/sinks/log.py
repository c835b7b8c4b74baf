"""The log sink: one readable line for each event, through the daemon's own logging."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from pydantic import Field

from tdbwatch.plugin import Event, Kind, Options, Sink, SinkContext, sink
from tdbwatch.plugin.jsonable import to_jsonable

Level = Literal["debug", "info", "warning", "error", "critical"]

_MAX_PAYLOAD: Final = 8192
"""Bytes of MessagePack; what is larger is named by its size, since a log line is for reading."""
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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

    async def deliver(self, batch: Sequence[Event]) -> None:
        log = self.context.log
        for event in batch:
            getattr(log, self.level_of(event))(message_of(event), **fields_of(event))

    def level_of(self, event: Event) -> Level:
        """The level that the options give to this event."""
        for glob, level in self._levels:
            if fnmatchcase(event.event, glob):
                return level
        return self._level


def message_of(event: Event) -> str:
    """The line's text: where, what, and why: `alerts: disk-full`, `alerts: gap (lost the connection)`."""
    if event.kind == Kind.EVENT:
        return printable(f"{event.room}: {event.event}")
    details = event.details
    where = event.room or details.get("node") or event.kind
    what = event.event if event.event in ("", event.kind) else f"{event.kind} {event.event}"
    why = details.get("reason")
    return printable(f"{where}: {what}" + (f" ({why})" if why else ""))


def fields_of(event: Event) -> dict[str, Any]:
    """The line's fields. `event` is what structlog calls the text, so the event's name is `name`."""
    fields: dict[str, Any] = {
        "kind": event.kind,
        "scope": printable(event.scope),
        "room": printable(event.room),
        "name": printable(event.event),
        "event_id": event.id,
    }
    if len(event.payload) > _MAX_PAYLOAD:
        fields["args"] = f"({len(event.payload)} bytes)"
    elif event.kind != Kind.EVENT:
        fields["details"] = to_jsonable(event.details)
    elif event.arg_names:
        fields["data"] = to_jsonable(event.data)
    else:
        fields["args"] = to_jsonable(event.args)
    return fields


def printable(text: str) -> str:
    """`text` with what could break a line or steer a terminal shown as `\\xNN`: names are the emitters'."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
