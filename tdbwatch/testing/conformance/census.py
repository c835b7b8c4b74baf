"""Counting what a process has, to see whether sinks leave something behind."""

import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tdbwatch.testing.processes import children

_DESCRIPTORS: Final = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Census:
    """What there is now.

    Attributes:
        threads: that are alive.
        descriptors: what each open file descriptor leads to.
        processes: that were started from here and not waited for, with their names.
    """

    threads: frozenset[threading.Thread]
    descriptors: dict[int, str]
    processes: dict[int, str]

    @classmethod
    def take(cls) -> Self:
        gc.collect()  # what nobody refers to any more is no leak
        return cls(frozenset(threading.enumerate()), _descriptors(), children(os.getpid()))

    def threads_since(self, before: "Census") -> list[str]:
        """The names of those that are more."""
        return sorted(thread.name for thread in self.threads - before.threads)

    def descriptors_since(self, before: "Census") -> list[str]:
        """What those that are new lead to; none if there are not more."""
        more = len(self.descriptors) - len(before.descriptors)
        new = [leads for fd, leads in self.descriptors.items() if before.descriptors.get(fd) != leads]
        return sorted(new)[: max(0, more)]

    def processes_since(self, before: "Census") -> list[str]:
        """The names of those that are more."""
        return sorted(name for pid, name in self.processes.items() if pid not in before.processes)


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names suffice
        try:
            found[int(name)] = os.readlink(_DESCRIPTORS / name)  # noqa: PTH115
        except OSError:  # the one that listed them
            continue
    return found
