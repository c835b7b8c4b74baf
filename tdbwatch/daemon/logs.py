"""The daemon's own log: structlog and the standard library's, through one renderer."""

import logging
import os
import re
import sys
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from tdbwatch.daemon.redaction import redact
from tdbwatch.sinks.log import STRICT

Format = Literal["auto", "console", "journal", "json"]

_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Syslog priorities, which journald reads from a `<N>` before each line."""
_STEERING: Final = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TIMES: Final = {"json": "iso", "console": "%H:%M:%S"}
_SAID_ALREADY: Final = ("event_id", "kind", "logger", "name", "room", "scope", "sink")
_PLAIN: Final = structlog.dev.plain_traceback
"""Prettier tracebacks show local variables, and those may be secrets."""


def configure(level: str = "info", format: Format = "auto", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error)."""
    out = stream if stream is not None else sys.stderr
    chosen = format if format != "auto" else _suited(out)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
    ]
    if chosen != "journal":  # which has its own times
        shared.append(structlog.processors.TimeStamper(fmt=_TIMES[chosen], utc=chosen == "json"))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(chosen, out),
                _without_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


class _Handler(logging.StreamHandler[TextIO]):
    """Tells who wants to know it that a line could not be written; to all others the log is a courtesy."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        error = sys.exception()
        if STRICT.get() and isinstance(error, OSError):
            raise error
        super().handleError(record)


def _suited(out: TextIO) -> Format:
    """Console on a terminal, for the journal under systemd, JSON otherwise."""
    if out.isatty():
        return "console"
    return "journal" if "JOURNAL_STREAM" in os.environ else "json"


def _renderers(chosen: Format, out: TextIO) -> list[Processor]:
    if chosen == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
        return [structlog.processors.format_exc_info, render, _harmless]
    if chosen == "journal":
        return [
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, exception_formatter=_PLAIN),
            _with_priority,
        ]
    colours = out.isatty() and "NO_COLOR" not in os.environ
    return [
        _terse,
        structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=30, exception_formatter=_PLAIN),
    ]


def _terse(_: Any, __: str, line: EventDict) -> EventDict:
    """What the message says already, and nobody reads off a screen, is left to the other formats."""
    if str(line.get("logger", "")).startswith("tdbwatch.sink."):
        for key in _SAID_ALREADY:
            line.pop(key, None)
    return line


def _without_secrets(_: Any, __: str, text: Any) -> str:
    return redact(str(text))


def _harmless(_: Any, __: str, text: Any) -> str:
    """JSON without the characters that steer a terminal, should somebody look at it on one."""
    line = str(text)
    return line if line.isascii() else _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _with_priority(_: Any, method: str, text: Any) -> str:
    """The level as journald understands it, before every line of the message."""
    prefix = f"<{_PRIORITIES.get(method, 6)}>"
    return "\n".join(prefix + line for line in str(text).splitlines())
