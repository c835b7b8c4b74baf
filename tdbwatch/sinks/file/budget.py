"""How many files the file sinks may have open: one budget for all of them, in equal shares."""

import threading
from typing import Final

from tdbwatch.descriptors import limit, reserve

MOST: Final = 64
"""Files of one sink, however many it could have."""
_RESERVED: Final = 512
"""Files of the process that are left to links, spool, webhooks and plugins; half if they are few. Where that
is too little, the shares are halved, and again."""


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
        total = max((most := limit()) - _RESERVED, most // 2)
        return max(1, min(MOST, total // max(1, self._sinks)) >> reserve.pressure)


budget: Final = Budget()
"""The process's own."""
