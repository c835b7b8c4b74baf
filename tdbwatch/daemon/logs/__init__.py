"""The daemon's own log. Lines are made where they are said, and written by a thread of their own.

It does not hang on the standard library's root logger, so a plugin may do with `logging` what it likes. What
libraries say there comes here by a handler, which a plugin may take away; our own modules that use `logging`
have loggers that nobody can silence. structlog has one configuration for the whole process, so that is ours.
"""

import atexit
import io
import logging
import os
import sys
from typing import Any, ClassVar, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from tdbwatch.daemon.logs import journal as log_journal
from tdbwatch.daemon.logs.journal import JournalWriter, entries
from tdbwatch.daemon.logs.text import Format, entry_renderers, renderers, times
from tdbwatch.daemon.logs.writer import DirectWriter, LogWriter
from tdbwatch.sinks.log import RECEIPT

Choice = Literal["auto"] | Format

_FLUSH_SECONDS: Final = 1.0
"""How long the end of the process may wait for whoever reads the log."""
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
}
"""By the method that a line was said with."""


_configure: Final = structlog.configure
_reset_defaults: Final = structlog.reset_defaults


class _Log:
    """Where lines go: the process has one log."""

    writer: LogWriter | DirectWriter | None = None
    handler: "_Handler | None" = None
    steps: ClassVar[list[Processor]] = []
    """What makes a line. Loggers keep the list, so that it can change under those that are bound already."""
    level: int = logging.INFO
    """The least important lines that are shown."""
    stream: TextIO | None = None
    reported: int = 0
    """Dropped lines that were told of."""
    noticed: int = 0
    """Dropped lines at the last line: as long as they grow, telling of them is in vain."""


def configure(level: str = "info", format: Choice = "auto", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error)."""
    out = stream if stream is not None else _standard_error()
    flush()  # what was said before comes before
    reset()
    _Log.stream = out
    _configure(
        processors=_Log.steps,
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    structlog.configure = structlog.reset_defaults = _ignored
    change(level, format)
    logging.captureWarnings(capture=True)


def change(level: str, format: Choice) -> None:
    """From now on show these lines, in this form, where they went before; does nothing before `configure`."""
    if (out := _Log.stream) is None:
        return
    chosen = format if format != "auto" else _suited(out)
    native = chosen == "journal" and _is_journal(out, os.environ.get("JOURNAL_STREAM", ""))
    if _Log.writer is None or native is not isinstance(_Log.writer, JournalWriter):
        _write_to(JournalWriter(out.fileno(), log_journal.SOCKET) if native else _writer_to(out))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        *times(chosen),
    ]
    colours = out.isatty() and "NO_COLOR" not in os.environ
    rendered = entry_renderers(entries) if native else renderers(chosen, colours=colours)
    number = _Log.level = logging.getLevelNamesMapping()[level.upper()]
    _Log.steps[:] = [_shown_at_this_level, *shared, *rendered]
    _Log.handler = _Handler(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [_Log.handler]
    root.setLevel(number)
    _Unsilenced.level_of_ours = number
    for logger in _ours():
        logger.__class__ = _Unsilenced


def _write_to(writer: LogWriter | DirectWriter | JournalWriter) -> None:
    """Have another writer write from now on; what was said before comes before."""
    flush()
    if _Log.writer is not None:
        _Log.writer.close()
    _Log.writer = writer


def reset() -> None:
    """Undo `configure`: whoever logs then is not heard here any more. What was said is still written."""
    if _Log.writer is not None:
        _Log.writer.close()
    if _Log.handler is not None:
        logging.getLogger().removeHandler(_Log.handler)
    for logger in _ours():
        if isinstance(logger, _Unsilenced):
            logger.__class__ = logging.Logger  # type: ignore[assignment]
    _Log.writer, _Log.handler, _Log.stream = None, None, None
    _Log.reported = _Log.noticed = 0
    logging.captureWarnings(capture=False)
    structlog.configure, structlog.reset_defaults = _configure, _reset_defaults
    structlog.reset_defaults()


def _ignored(*_: Any, **__: Any) -> None:
    """What a plugin calls as `structlog.configure`, which would lose lines of ours, or show secrets."""
    caller = sys._getframe(1)  # noqa: SLF001 - there is no other way
    structlog.get_logger("tdbwatch.logs").warning(
        "log.configure_ignored",
        where=f"{caller.f_code.co_filename}:{caller.f_lineno}",
        reason="structlog has one configuration for the whole process, and that is the daemon's",
        remedy="leave structlog.configure out of plugins; their loggers are configured already",
    )


def flush(seconds: float = _FLUSH_SECONDS) -> bool:
    """Wait until what was said is written, at most `seconds`; whether it is."""
    return _Log.writer is None or _Log.writer.flush(seconds)


atexit.register(flush)


def dropped() -> int:
    """Lines that were not written since the start: nobody read them, or no disk took them."""
    return 0 if _Log.writer is None else _Log.writer.dropped


def _write(line: str) -> None:
    """Hand a line to the writer, and tell the log sink that waits for it, if one does."""
    writer, receipt = _Log.writer, RECEIPT.get()
    if writer is None:
        return
    if receipt is None:
        missing, _Log.noticed = _Log.noticed - _Log.reported, writer.dropped
        if missing and _Log.noticed == missing + _Log.reported:
            _Log.reported = _Log.noticed
            _tell_of_drops(missing)
        writer.put(line)
        return
    receipt.lines += 1
    if not writer.put(line, receipt):
        receipt.lines -= 1
        receipt.refused = True


def _tell_of_drops(lines: int) -> None:
    structlog.get_logger("tdbwatch.logs").warning(
        "log.lines_missing",
        lines=lines,
        remedy="something does not read standard error, or its disk is full; events were not held up",
    )


def _shown_at_this_level(_: Any, method: str, line: EventDict) -> EventDict:
    """Drop what is less important than is shown: the level may change under loggers that are there."""
    if _LEVELS.get(method, _Log.level) < _Log.level:
        raise structlog.DropEvent
    return line


class _Lines:
    """What structlog hands finished lines to; `name` is the logger's."""

    def __init__(self, name: str = "tdbwatch") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        _write(line)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class _Handler(logging.Handler):
    """Takes in what others say through the standard library's `logging`."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - its arguments are anybody's
            line = self.format(_unsayable(record, error))
        _write(line)


def _unsayable(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    text = f"a log line could not be made: {type(error).__name__} (from {record.pathname}:{record.lineno})"
    return logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, text, None, None)


class _Unsilenced(logging.Logger):
    """As our own loggers are in the daemon: `logging.disable` and `dictConfig` do not reach them."""

    level_of_ours: ClassVar[int] = logging.INFO

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging calls it so
        return level >= self.level_of_ours

    def handle(self, record: logging.LogRecord) -> None:
        if _Log.handler is not None:
            _Log.handler.handle(record)


def _ours() -> list[logging.Logger]:
    """The standard library's loggers that our own modules use; the connector is a library, and has some."""
    known = logging.getLogger().manager.loggerDict
    return [
        logger
        for name, logger in list(known.items())
        if name.partition(".")[0] == "tdbwatch" and isinstance(logger, logging.Logger)
    ]


def _standard_error() -> TextIO:
    return sys.stderr if sys.stderr is not None else io.StringIO()


def _writer_to(out: TextIO) -> LogWriter | DirectWriter:
    try:
        return LogWriter(out.fileno())
    except (OSError, ValueError):  # a stream in memory, as tests have
        return DirectWriter(out)


def _suited(out: TextIO) -> Format:
    """Console on a terminal, for the journal where that reads it, JSON otherwise."""
    if out.isatty():
        return "console"
    return "journal" if _is_journal(out, os.environ.get("JOURNAL_STREAM", "")) else "json"


def _is_journal(out: TextIO, stream: str) -> bool:
    """Whether `JOURNAL_STREAM`, which children inherit, means this very stream (systemd.exec(5))."""
    try:
        info = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{info.st_dev}:{info.st_ino}"
