"""Writes the log in a thread of its own: whoever logs never waits for whoever reads."""

import os
import select
import threading
import time
from collections import deque
from typing import Final, TextIO

from tdbwatch.sinks.log import Receipt

MOST_WAITING: Final = 8 << 20
"""Bytes that may wait to be written; what comes then is dropped and counted."""


class _Writer:
    """Tells what came of lines, and counts those that were lost."""

    def __init__(self) -> None:
        self.dropped = 0
        """Lines that were not written: there were too many, or nobody could take them."""

    def _came_of(self, receipt: Receipt | None, error: OSError | None) -> None:
        if receipt is not None:
            receipt.tell(error)
        elif error is not None:
            self.dropped += 1


class LogWriter(_Writer):
    """Takes lines from any thread and writes them to a file descriptor, in their order.

    Args:
        fd: where to; the writer keeps a copy of its own, so that nobody can close it.
        limit: bytes that may wait.
    """

    def __init__(self, fd: int, limit: int = MOST_WAITING) -> None:
        super().__init__()
        self._fd = os.dup(fd)
        self._limit = limit
        self._lines: deque[tuple[bytes, Receipt | None]] = deque()
        self._size = 0
        self._changed = threading.Condition()  # reentrant: collecting garbage may log, too
        self._thread: threading.Thread | None = None
        self._closed = False
        self._torn = False

    def put(self, line: str, receipt: Receipt | None = None) -> bool:
        """Take a line, without its newline; False: there is no space for it, and it is dropped."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._changed:
            if self._closed or (self._lines and self._size + len(data) > self._limit):
                self.dropped += receipt is None
                return False
            self._lines.append((data, receipt))
            self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tdbwatch-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, at most `seconds`; whether it is."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._lines and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._lines

    def close(self) -> None:
        """Take no more lines; what waits is still written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._thread is None:
                os.close(self._fd)

    def _run(self) -> None:
        while (first := self._first()) is not None:
            line, receipt = first
            if receipt is None or receipt.is_wanted:
                self._deal_with(line, receipt)
            with self._changed:
                self._lines.popleft()
                self._size -= len(line)
                self._changed.notify_all()
        os.close(self._fd)

    def _first(self) -> tuple[bytes, Receipt | None] | None:
        """The next line, which counts as waiting until it is written; None: there will be none."""
        with self._changed:
            while not self._lines:
                if self._closed:
                    return None
                self._changed.wait()
            return self._lines[0]

    def _deal_with(self, line: bytes, receipt: Receipt | None) -> None:
        error: OSError | None = None
        try:
            self._write(line)
        except OSError as caught:
            error = caught
        self._came_of(receipt, error)

    def _write(self, line: bytes) -> None:
        """Write it whole; what a failure leaves of it is ended, lest the next line hangs on it."""
        rest = memoryview(b"\n" + line if self._torn else line)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:  # somebody made it so, who has the same terminal or pipe
                    select.select([], [self._fd], [], 1.0)
                self._torn = bool(rest)
        except OSError:
            self._torn = self._torn or 0 < len(rest) < len(line)
            raise


class DirectWriter(_Writer):
    """Writes at once, to a stream that is no file and so lets nobody wait."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def put(self, line: str, receipt: Receipt | None = None) -> bool:
        """As of `LogWriter`."""
        error: OSError | None = None
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as caught:
            error = caught
        self._came_of(receipt, error)
        return True

    def flush(self, seconds: float) -> bool:  # noqa: ARG002
        """Nothing waits."""
        return True

    def close(self) -> None:
        """Nothing to let go of."""
