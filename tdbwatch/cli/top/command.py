"""`tdbwatch top`: a running daemon at a glance, on a terminal."""

import argparse
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.daemon.status_port import SilentError, StatusPort, add_status_port, status_port
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.terminal import is_terminal, paint
from tdbwatch.cli.top.full_screen import EndedError, FullScreen, full_screen
from tdbwatch.daemon.words import duration

if TYPE_CHECKING:
    from tdbwatch.cli.top.screen import Status
    from tdbwatch.cli.top.table import Line

_DESCRIPTION = """\
Show a running daemon on the terminal: rooms, sinks, the spool, what is wrong.
q or Ctrl-C ends it. In a pipe it prints one snapshot."""
_EXAMPLE = """\
example:
  tdbwatch top --config /etc/tdbwatch/prod.yaml
  tdbwatch top --url http://127.0.0.1:9280 | cat

exit codes: 0 fine, 64 wrong usage, 69 no daemon answers, 78 bad configuration,
or one without http"""
_WINDOW: Final = 10.0
"""Seconds over which rates are taken."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "top", help="show a running daemon, live", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.usage = f"{parser.prog} [-h] (--config FILE | --url URL) [...]"
    add_status_port(parser)
    parser.add_argument(
        "--interval", type=float, metavar="SECONDS", default=2.0, help="between two looks (2)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show it until it is enough; returns the exit code."""
    from tdbwatch.cli.top.screen import screen

    if not 0.1 <= options.interval <= 3600:
        raise CommandError(exits.USAGE, "--interval must be from 0.1 to 3600 seconds")
    port = status_port(options)
    try:
        first = port.status()
    except SilentError as error:
        raise CommandError(exits.UNAVAILABLE, str(error)) from error
    if not is_terminal() or os.environ.get("TERM", "dumb") == "dumb":
        for line in screen(first, None, None, None):
            say(_text(line))
        return exits.OK
    try:
        with full_screen() as terminal:
            _live(terminal, port, first, options.interval)
    except KeyboardInterrupt:
        pass
    except EndedError as ended:
        return 128 + ended.number
    return exits.OK


def _live(terminal: FullScreen, port: StatusPort, first: "Status", interval: float) -> None:
    from tdbwatch.cli.top.screen import screen

    looking = _Looking(port, first, interval, terminal)
    looking.start()
    try:
        while b"q" not in terminal.wait(interval).lower():
            width, height = terminal.size
            now, before, remark = looking.found()
            terminal.show([_text(line) for line in screen(now, before, width, height, remark)])
    finally:
        looking.end()


def _text(line: "Line") -> str:
    from tdbwatch.cli.top.screen import COLOURS

    return "".join(paint(cell.text, COLOURS[cell.colour]) if cell.colour else cell.text for cell in line)


class _Looking:
    """Asks the daemon again and again, in a thread: it may take long to answer."""

    def __init__(self, port: StatusPort, first: "Status", interval: float, terminal: FullScreen) -> None:
        self._port = port
        self._interval = interval
        self._terminal = terminal
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, Status]] = deque([(time.monotonic(), first)])
        self._silent = ""
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="tdbwatch-top", daemon=True).start()
        self._terminal.wake()

    def end(self) -> None:
        """Ask no more, and leave the terminal alone."""
        with self._lock:
            self._ended.set()

    def found(self) -> tuple["Status", "Status | None", str]:
        """The newest status, one before it, and what to say at the bottom."""
        with self._lock:
            at, now = self._seen[-1]
            before = self._seen[0][1] if len(self._seen) > 1 else None
            silent = self._silent
        if silent:
            return now, before, f"{silent} (for {duration(time.monotonic() - at)})"
        return now, before, "q ends"

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.look()

    def look(self) -> None:
        """Ask once."""
        try:
            status, silent = self._port.status(), ""
        except SilentError as error:
            status, silent = None, str(error)
        with self._lock:
            if self._ended.is_set():
                return
            self._silent = silent
            if status is not None:
                self._keep(status)
            self._terminal.wake()

    def _keep(self, status: "Status") -> None:
        now = time.monotonic()
        self._seen.append((now, status))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
