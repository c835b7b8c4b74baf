"""Compressing and deleting what rotation set aside, in a thread of its own: it must not hold up delivery."""

import threading
from pathlib import Path
from typing import Any, Final

from tdbwatch.sinks.file.compression import GivenUpError, compress
from tdbwatch.sinks.file.options import Rotate
from tdbwatch.sinks.file.rotation import files_aside, surplus

_MAX_WAITING: Final = 1024
_CLOSE_SECONDS: Final = 5.0


class Tidier:
    """Tidies up behind paths that were rotated.

    What is to do is read from the folder, not remembered: work that a crash or `close` cut short is done
    when the same path is rotated next. A path that fails is logged and tried again then.
    """

    def __init__(self, name: str, rule: Rotate, log: Any) -> None:
        self._name = f"tdbwatch-file-{name}-tidier"
        self._rule = rule
        self._log = log
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def submit(self, path: str) -> None:
        """Tidy up behind `path`, soon."""
        with self._lock:
            if len(self._waiting) < _MAX_WAITING:  # the rest is found at their next rotation
                self._waiting[path] = None
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the work to end; whether it did."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """Give up what is under way; nothing is lost by it."""
        self._stop.set()
        if not self.wait(_CLOSE_SECONDS):
            self._log.warning("compressing a rotated file does not end; leaving it behind", thread=self._name)

    def _run(self) -> None:
        while (path := self._next()) is not None:
            try:
                self._tidy(path)
            except GivenUpError:
                pass
            except Exception as error:  # noqa: BLE001 - delivery goes on whatever befalls old files
                self._log.error(
                    "old files could not be tidied up; tried again at the next rotation",
                    path=path,
                    error=f"{type(error).__name__}: {error}",
                )

    def _next(self) -> str | None:
        with self._lock:
            if self._stop.is_set() or not self._waiting:
                self._thread = None
                return None
            path = next(iter(self._waiting))
            del self._waiting[path]
            return path

    def _tidy(self, path: str) -> None:
        for file in surplus(files_aside(path), self._rule.keep):
            Path(file.path).unlink(missing_ok=True)
        kind = self._rule.compression
        if kind is not None:
            for file in files_aside(path):
                if not file.compressed:
                    compress(file.path, kind, self._stop.is_set)
