"""How log lines look: as JSON, for the journal, or for people. No text of others gets in raw."""

import re
from collections.abc import Callable
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor

from tdbwatch.printable import is_printable, printable, shortened
from tdbwatch.redaction import redact

Format = Literal["console", "journal", "json"]

PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Syslog's, by level."""
_TIMES: Final = {"json": "iso", "console": "%H:%M:%S"}
_SAID_ALREADY: Final = ("event_id", "kind", "logger", "name", "room", "scope", "sink")
_PLAIN: Final = structlog.dev.plain_traceback
"""Prettier tracebacks show local variables, and those may be secrets."""
_MOST_TEXT: Final = 16_384
"""Characters of one value; the log sink's arguments are shorter than this."""
_MOST_TRACE: Final = 32_768
_MOST_LINE: Final = 131_072
_MOST_SIMPLE: Final = 2_000
"""Characters of a value in a line that would be longer than that."""
_ONLY_SHOWN: Final = (bool, int, float, type(None))
_HIGH: Final = 0x10000


def times(format: Format) -> list[Processor]:
    """The time of each line; the journal has its own."""
    if format == "journal":
        return []
    return [structlog.processors.TimeStamper(fmt=_TIMES[format], utc=format == "json")]


def renderers(format: Format, *, colours: bool) -> list[Processor]:
    """What makes the finished text of a line."""
    if format == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
        return [*_BOUNDED, _carefully(render), _without_secrets, _harmless]
    if format == "journal":
        return [*_BOUNDED, _for_journal(), _without_secrets, _with_priority]
    console = _console(colours=colours, padding=30)
    return [*_BOUNDED, _terse, _carefully(_shown, console), _without_secrets]


def entry_renderers(entries: Callable[[Processor], Processor]) -> list[Processor]:
    """What makes entries for journald's own protocol; `entries` does, given what makes the text of one."""
    return [*_BOUNDED, entries(_for_journal())]


def _for_journal() -> Processor:
    return _carefully(_shown, _console(colours=False, padding=0))


def _console(*, colours: bool, padding: int) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=padding, exception_formatter=_PLAIN)


def _carefully(*steps: Processor) -> Processor:
    """`steps`, the last of which makes text: also of what cannot be shown, and of what would be huge."""

    def render(logger: Any, method: str, line: EventDict) -> str:
        try:
            text = _in_turn(steps, logger, method, dict(line))
        except Exception:  # noqa: BLE001 - values that plugins log may do anything when they are looked at
            text = ""
        if text and len(text) <= _MOST_LINE:
            return text
        simple = {shortened(str(key), _MOST_SIMPLE): _simple(value) for key, value in line.items()}
        return _in_turn(steps, logger, method, simple)

    return render


def _in_turn(steps: tuple[Processor, ...], logger: Any, method: str, line: Any) -> str:
    for step in steps:
        line = step(logger, method, line)
    return str(line)


def _simple(value: Any) -> Any:
    """A value as what every format can show, and short."""
    if type(value) in _ONLY_SHOWN:
        return value
    try:
        return shortened(redact(value if type(value) is str else repr(value)), _MOST_SIMPLE)
    except Exception as error:  # noqa: BLE001 - as above
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"


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
    for key in [key for key in line if not is_printable(key)]:
        line[printable(key)] = line.pop(key)
    for key, value in line.items():
        if key == "exception":
            rows = (printable(row) for row in str(value).split("\n"))
            line[key] = _Text("\n".join("    " + row for row in rows))
        elif isinstance(value, str):
            if not is_printable(value):
                line[key] = _Text(printable(value) if key == "event" else f"'{printable(value)}'")
        elif type(value) not in _ONLY_SHOWN:
            line[key] = _Text(printable(repr(value)))
    return line


def _terse(_: Any, __: str, line: EventDict) -> EventDict:
    """What the message says already, and nobody reads off a screen, is left to the other formats."""
    if str(line.get("logger", "")).startswith("tdbwatch.sink."):
        for key in _SAID_ALREADY:
            line.pop(key, None)
    return line


_BOUNDED: Final[list[Processor]] = [structlog.processors.format_exc_info, _cut]


def as_text(key: str, value: Any) -> str:
    """A value as the field of an entry: of its own, and so without quotes; a traceback is whole."""
    if key == "exception" and isinstance(value, str):
        return "\n".join(map(printable, value.split("\n")))
    return printable(str(_simple(value)))


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
    return with_priority(PRIORITIES.get(method, PRIORITIES["info"]), str(text))


def with_priority(priority: int, text: str) -> str:
    """Lines as journald reads them from standard error."""
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))
