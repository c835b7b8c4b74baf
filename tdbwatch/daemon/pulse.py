"""A sign of life on disk, so that the next start knows since when nobody listened."""

import contextlib
from pathlib import Path
from typing import Final

from tdbwatch.clock import Clock

INTERVAL: Final = 2.0
"""Seconds between beats: by so much a gap may seem longer than it was."""


class Pulse:
    """A file beside the spool; the time of its last change is when the daemon was last known to live."""

    def __init__(self, spool: Path, clock: Clock) -> None:
        self._path = spool.with_name(spool.name + ".alive")
        self._clock = clock

    def last(self) -> float | None:
        """Seconds since the Unix epoch, of the daemon that ran before; None if there was none."""
        try:
            return float(self._path.read_text())
        except (OSError, ValueError):
            return None

    def beat(self) -> None:
        """Say that the daemon lives. A disk that does not take it must not harm anything."""
        with contextlib.suppress(OSError):
            self._path.touch(mode=0o600)
            self._path.write_text(f"{self._clock.time():.3f}")
