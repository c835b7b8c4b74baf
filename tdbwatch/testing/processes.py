"""Which processes a process has started, as Linux tells it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def children(pid: int) -> dict[int, str]:
    """Those that a process started and has not waited for, with their names.

    Each process is asked for its parent. The lists that the kernel has for each thread of the parent
    (`/proc/PID/task/*/children`) lack, for a moment, what a thread started that is just ending.
    """
    found = {}
    for name in filter(str.isdecimal, os.listdir(_PROC)):  # noqa: PTH208 - names suffice
        with suppress(OSError):  # one that has ended
            called, _, rest = (_PROC / name / "stat").read_bytes().decode(errors="replace").rpartition(")")
            if int(rest.split()[1]) == pid:  # proc(5): the state, then the parent
                found[int(name)] = called.partition("(")[2]
    return found
