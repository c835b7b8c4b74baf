"""How many files the file sinks may have open: one budget for all of them, in equal shares."""

import resource
import threading
from typing import Final

MOST: Final = 64
"""Files of one sink, however many it could have."""
_RESERVED: Final = 512
"""Files of the process that are left to links, spool, webhooks and plugins; half if they are few."""


class Budget:
    """Counts the sinks that write; each keeps to its share by closing what it used least recently."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks = 0

    def join(self) -> None:
        with self._lock:
            self._sinks += 1

    def leave(self) -> None:
        with self._lock:
            self._sinks -= 1

    def share(self) -> int:
        """How many files one sink may have open now; at least one."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            return MOST
        return max(1, min(MOST, max(limit - _RESERVED, limit // 2) // max(1, self._sinks)))


budget: Final = Budget()
"""The process's own."""
