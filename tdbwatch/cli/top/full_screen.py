"""A terminal that a command has to itself, and gives back as it was, however the command ends."""

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Final

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""To the other screen, without a cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


class EndedError(Exception):
    """A signal ends the command.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class FullScreen:
    """Shows lines on the whole terminal, and hears keys. To be had from `full_screen`."""

    def __init__(self) -> None:
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[Any] | None = None
        self._wakes, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines as they are now, whatever COLUMNS says."""
        try:
            return os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return os.terminal_size((80, 24))

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines in place of what was there."""
        self._write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")

    def wake(self) -> None:
        """Have `wait` return; from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    def wait(self, seconds: float) -> bytes:
        """Wait for a key, a new size or `wake`, or so many seconds; the keys."""
        watched = [self._wakes] if self._keys is None else [self._wakes, self._keys]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._wakes in ready:
            os.read(self._wakes, 4096)
        if self._keys is None or self._keys not in ready:
            return b""
        keys = os.read(self._keys, 1024)
        if not keys:  # the terminal is gone
            raise EndedError(signal.SIGHUP)
        return keys

    def enter(self) -> None:
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys, termios.TCSANOW)
        self._write(_ENTER)

    def leave(self) -> None:
        """Give the terminal back."""
        if self._keys is not None and self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)
        with contextlib.suppress(OSError):
            self._write(_LEAVE)

    def close(self) -> None:
        os.close(self._wakes)
        os.close(self._wake)

    def suspend(self, number: int, _: FrameType | None) -> None:
        """Give the terminal back for as long as the shell wants it (Ctrl-Z)."""
        self.leave()
        ours = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # until it is continued
        signal.signal(number, ours)
        self.enter()
        self.wake()

    @property
    def woken_by(self) -> int:
        """The descriptor that signals write to."""
        return self._wake

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _end(number: int, _: FrameType | None) -> None:
    raise EndedError(number)


@contextlib.contextmanager
def full_screen() -> Iterator[FullScreen]:
    """The terminal, until the block ends.

    Raises:
        EndedError: a signal ends the block.
    """
    screen = FullScreen()
    handlers: dict[signal.Signals, Any] = dict.fromkeys(_ENDS, _end)
    handlers |= {signal.SIGTSTP: screen.suspend, signal.SIGWINCH: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    woken = signal.set_wakeup_fd(screen.woken_by, warn_on_full_buffer=False)
    try:
        screen.enter()
        yield screen
    finally:
        screen.leave()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        screen.close()
