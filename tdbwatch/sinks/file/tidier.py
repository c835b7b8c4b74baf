"""Compressing and deleting what rotation set aside, in a thread of its own: it must not hold up delivery."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from tdbwatch.sinks.file.compression import GivenUpError, compress
from tdbwatch.sinks.file.options import Rotate
from tdbwatch.sinks.file.rotation import files_aside, leftovers, surplus

_MAX_WAITING: Final = 1024
_CLOSE_SECONDS: Final = 5.0
_T = TypeVar("_T")


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
            self._log.warning("file.compressing_abandoned", thread=self._name)

    def _run(self) -> None:
        while (path := self._next()) is not None:
            with contextlib.suppress(GivenUpError):
                self._tidy(path)

    def _next(self) -> str | None:
        with self._lock:
            if self._stop.is_set() or not self._waiting:
                self._thread = None
                return None
            path = next(iter(self._waiting))
            del self._waiting[path]
            return path

    def _tidy(self, path: str) -> None:
        for part in self._listed(path, leftovers):
            self._do(part, lambda part: Path(part).unlink(missing_ok=True))
        for file in self._listed(path, lambda path: surplus(files_aside(path), self._rule.keep)):
            self._do(file.path, lambda old: Path(old).unlink(missing_ok=True))
        kind = self._rule.compression
        if kind is not None:
            for file in self._listed(path, files_aside):
                if not file.compressed:
                    self._do(file.path, lambda old: compress(old, kind, self._stop.is_set))

    def _listed(self, path: str, function: Callable[[str], list[_T]]) -> list[_T]:
        return self._do(path, function) or []

    def _do(self, path: str, function: Callable[[str], _T]) -> _T | None:
        """Call `function`; one file that fails is said, and keeps no other from being tidied up."""
        try:
            return function(path)
        except GivenUpError:
            raise
        except Exception as error:  # noqa: BLE001 - delivery goes on whatever befalls old files
            self._log.error(
                "file.not_tidied",
                path=path,
                error=f"{type(error).__name__}: {error}",
                remedy="it is tried again at the next rotation",
            )
            return None
