"""Descriptors of the process. Some are held for what must not fail; who has many gives some back.

A call that gets none does not always say so: a name is not found then, and certificates that cannot be read
count as none. So there should be some before such a call is made, rather than a second attempt behind it.
"""

import errno
import os
import resource
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final

SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""What the system says when the process, or the host, has no descriptor left."""
REMEDY: Final = "raise the limit of open files (LimitNOFILE in a unit)"
SOON: Final = 1.0
"""Seconds; by then somebody may have given one back."""
HELD: Final = 24
"""Descriptors that are held; an eighth of all, if those are few."""
PORTION: Final = 8
"""As many as any one thing needs: a link, its name and its certificates; a new spool beside a damaged one."""
_CALM: Final = 600
"""Looks in a row that find enough, until those who gave some back may have a few more again."""
_WORST: Final = 16
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC


def limit() -> int:
    """How many the process may have."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def require(count: int = 1) -> None:
    """See that there are so many, not counting the reserve.

    Raises:
        OSError: there are not.
    """
    with ExitStack() as taken:
        try:
            for _ in range(count):
                taken.callback(os.close, os.open(os.devnull, _OPEN))
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; {REMEDY}") from None


def was_short(error: Exception) -> bool:
    """Whether it was raised for want of a descriptor. Where it does not say so, there is none even now."""
    if getattr(error, "errno", None) in SHORT:
        return True
    try:
        require()
    except OSError:
        return True
    return False


class Reserve:
    """Holds some, once it was looked at; a process where nobody looks has no reserve.

    Attributes:
        givers: called, in the thread that looks, when there are too few. They must not block.
        pressure: how often that was so lately. Who may have many halves its share for each time.
    """

    def __init__(self) -> None:
        self.givers: set[Callable[[], None]] = set()
        self.pressure = 0
        self._held: list[int] = []
        self._calm = 0

    def lend(self, count: int = PORTION) -> bool:
        """Let go of so many, for what the caller does next; whether there were any. For every thread."""
        before = len(self._held)
        with suppress(IndexError):
            for _ in range(count):
                os.close(self._held.pop())
        return before > 0

    def look(self) -> bool:
        """Take back what was lent. Whether there are enough; if not, the givers are asked."""
        try:
            while len(self._held) < min(HELD, limit() // 8):
                self._held.append(os.open(os.devnull, _OPEN))
            require()
        except OSError:
            self.pressure, self._calm = min(self.pressure + 1, _WORST), 0
            for give in list(self.givers):
                give()
            return False
        self._calm += 1
        if self._calm >= _CALM:
            self.pressure, self._calm = max(0, self.pressure - 1), 0
        return True

    def close(self) -> None:
        """Let go of all."""
        self.lend(HELD)


reserve: Final = Reserve()
"""The process's own."""
