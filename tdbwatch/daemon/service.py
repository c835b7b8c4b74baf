"""The daemon as a service: signals in, an exit code out."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

import structlog

from tdbwatch.daemon import logs
from tdbwatch.daemon.config import Config
from tdbwatch.daemon.hosting.tracing import tracing_from
from tdbwatch.daemon.plugins import Registry
from tdbwatch.daemon.spool.errors import DiskError, SpoolError
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.daemon.system import process
from tdbwatch.daemon.system.systemd import Notifier
from tdbwatch.exceptions import AuthError

UNREACHABLE_AFTER: Final = 10.0
"""Seconds without any node, with `--exit-when-unreachable`."""
_LAST_WORDS: Final = 1.0
"""Seconds that whoever reads our output has for the rest of it."""
_LOGIN: Final = (
    "see that the user or token of thingsdb.auth exists, and has not expired; then start it yourself, "
    "since systemd does not after exit code 78"
)
_DISK: Final = "make space or mend the disk; it can be started then, and under systemd starts by itself"


def serve(
    config: Config,
    registry: Registry,
    read: Callable[[], Config] | None = None,
    *,
    exit_when_unreachable: bool = False,
) -> NoReturn:
    """Run until SIGTERM or SIGINT, then end the process with an exit code of sysexits.

    SIGHUP has `read` give the configuration anew.

    The process ends here and on the spot, since a plugin's thread that never returns would keep an ordinary
    exit waiting for ever; everything that should be saved is saved by then.
    """
    process.settle_in()
    with asyncio.Runner() as runner:
        try:
            code = runner.run(_serve(config, registry, read, exit_when_unreachable))
        except Exception as error:  # noqa: BLE001 - a mistake of ours; the code is promised, whatever it is
            structlog.get_logger("tdbwatch").critical("daemon.part_died", part="service", exc_info=error)
            code = os.EX_SOFTWARE
        logs.flush(_LAST_WORDS)
        _flush_prints()
        os._exit(code)


def _flush_prints() -> None:
    """What plugins printed; a reader that does not read keeps nobody from ending."""

    def flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()

    last = threading.Thread(target=flush, name="tdbwatch-last-words", daemon=True)
    last.start()
    last.join(_LAST_WORDS)


async def _serve(
    config: Config, registry: Registry, read: Callable[[], Config] | None, exit_when_unreachable: bool
) -> int:
    tracing = tracing_from(os.environ)
    daemon = Daemon(config, registry, notifier=Notifier(), read=read, tracing=tracing)
    stop = _on_signals(daemon.reload_soon)
    chores = [asyncio.create_task(work, name=f"tdbwatch-{name}") for name, work in _chores()]
    starting = asyncio.create_task(daemon.start(), name="tdbwatch-start")
    limit = UNREACHABLE_AFTER if exit_when_unreachable else None
    try:
        await asyncio.wait({starting, stop}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            process.spare_what_is_there()
            await asyncio.wait({stop, daemon.failed}, return_when=asyncio.FIRST_COMPLETED)
        elif not stop.done():
            nodes = [str(node) for node in config.thingsdb.nodes]
            structlog.get_logger("tdbwatch").error("daemon.no_node", nodes=nodes)
            return os.EX_UNAVAILABLE
    except (AuthError, SpoolError) as error:
        return _no_start(error)
    finally:
        starting.cancel()
        for chore in chores:
            chore.cancel()
        await asyncio.wait({starting})
        await daemon.stop()
        if tracing is not None:
            await tracing.close()
    return os.EX_SOFTWARE if daemon.failed.done() else os.EX_OK


def _chores() -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """What the process does beside the daemon, by name."""
    yield "descriptors", process.mind_descriptors()
    if os.getpid() == 1:
        yield "reap", process.reap()


def _no_start(error: AuthError | SpoolError) -> int:
    """Say why it does not start; the exit code."""
    log = structlog.get_logger("tdbwatch")
    if isinstance(error, AuthError):
        log.error("daemon.login_refused", reason=error.error_msg, remedy=_LOGIN)
        return os.EX_CONFIG
    if isinstance(error, DiskError):
        log.error("spool.unusable", reason=str(error), remedy=_DISK)
        return os.EX_IOERR
    log.error("spool.unusable", reason=str(error))
    return os.EX_CANTCREAT


def _on_signals(reload: Callable[[], None]) -> "asyncio.Future[None]":
    """Ends at the first signal to stop; the second one ends the process on the spot. SIGHUP is to reload."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def caught(number: signal.Signals) -> None:
        if stop.done():
            os._exit(128 + number)  # what is in the spool is durable; nothing else is worth a wait
        stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, caught, number)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        loop.add_signal_handler(signal.SIGHUP, *((caught, signal.SIGHUP) if _on_terminal() else (reload,)))
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGHUP}
    )  # one that came while we began is taken up now
    return stop


def _on_terminal() -> bool:
    """Whether SIGHUP means that the terminal is gone."""
    return sys.stdin is not None and sys.stdin.isatty()
