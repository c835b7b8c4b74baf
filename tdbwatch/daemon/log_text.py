"""How log lines look: as JSON, for the journal, or for people. No text of others gets in raw."""

import re
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor

from tdbwatch.daemon.redaction import redact
from tdbwatch.printable import is_printable, printable, shortened

Format = Literal["console", "journal", "json"]

_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Syslog priorities, which journald reads from a `<N>` before each line."""
_TIMES: Final = {"json": "iso", "console": "%H:%M:%S"}
_SAID_ALREADY: Final = ("event_id", "kind", "logger", "name", "room", "scope", "sink")
_PLAIN: Final = structlog.dev.plain_traceback
"""Prettier tracebacks show local variables, and those may be secrets."""
_MOST_TEXT: Final = 16_384
"""Characters of one value; the log sink's arguments are shorter than this."""
_MOST_TRACE: Final = 32_768
_ONLY_SHOWN: Final = (bool, int, float, type(None))
_HIGH: Final = 0x10000


def times(format: Format) -> list[Processor]:
    """The time of each line; the journal has its own."""
    if format == "journal":
        return []
    return [structlog.processors.TimeStamper(fmt=_TIMES[format], utc=format == "json")]


def renderers(format: Format, *, colours: bool) -> list[Processor]:
    """What makes the finished text of a line."""
    trace = structlog.processors.format_exc_info
    if format == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
        return [trace, _cut, render, _without_secrets, _harmless]
    console = structlog.dev.ConsoleRenderer(
        colors=colours and format == "console",
        pad_event_to=0 if format == "journal" else 30,
        exception_formatter=_PLAIN,
    )
    if format == "journal":
        return [trace, _cut, _shown, console, _without_secrets, _with_priority]
    return [trace, _cut, _terse, _shown, console, _without_secrets]


class _Text(str):
    """A value as it is to be shown: the console puts no quotes and no escapes of its own around it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _cut(_: Any, __: str, line: EventDict) -> EventDict:
    for key, value in line.items():
        if isinstance(value, str):
            if key == "exception":
                line[key] = _middle_out(value)
            elif len(value) > _MOST_TEXT:  # redacted before it is cut, lest a half secret is left
                line[key] = shortened(redact(value[: 2 * _MOST_TEXT]), _MOST_TEXT)
    return line


def _middle_out(trace: str) -> str:
    """Of a very long traceback what matters: its beginning and, above all, its end."""
    if len(trace) <= _MOST_TRACE:
        return trace
    quarter = _MOST_TRACE // 4
    return f"{redact(trace[:quarter])}\n...\n{redact(trace)[-3 * quarter :]}"


def _shown(_: Any, __: str, line: EventDict) -> EventDict:
    """Values as a line for people can hold them; tracebacks are set in, so that none looks like a line."""
    for key, value in line.items():
        if key == "exception":
            rows = (printable(row) for row in str(value).split("\n"))
            line[key] = _Text("\n".join("    " + row for row in rows))
        elif isinstance(value, str):
            if not is_printable(value):
                line[key] = _Text(printable(value) if key == "event" else f"'{printable(value)}'")
        elif not isinstance(value, _ONLY_SHOWN):
            line[key] = _Text(printable(repr(value)))
    return line


def _terse(_: Any, __: str, line: EventDict) -> EventDict:
    """What the message says already, and nobody reads off a screen, is left to the other formats."""
    if str(line.get("logger", "")).startswith("tdbwatch.sink."):
        for key in _SAID_ALREADY:
            line.pop(key, None)
    return line


def _without_secrets(_: Any, __: str, text: Any) -> str:
    return redact(str(text))


def _harmless(_: Any, __: str, text: Any) -> str:
    """JSON that says the same without the characters that steer a terminal or hide something."""
    line = str(text)
    if is_printable(line):
        return line
    return re.sub(r"[^ -~]", lambda match: _json_escape(match[0]), line)


def _json_escape(char: str) -> str:
    if is_printable(char):
        return char
    code = ord(char)
    if code < _HIGH:
        return f"\\u{code:04x}"
    code -= _HIGH
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _with_priority(_: Any, method: str, text: Any) -> str:
    """The level as journald understands it, before every line of the message."""
    prefix = f"<{_PRIORITIES.get(method, 6)}>"
    return "\n".join(prefix + line for line in str(text).split("\n"))
