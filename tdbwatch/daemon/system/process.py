"""The process itself: what it needs of the system, whoever starts it and however carelessly."""

import asyncio
import contextlib
import gc
import os
import resource
import sys
from pathlib import Path
from typing import Final

import structlog

from tdbwatch.descriptors import SOON, limit, reserve
from tdbwatch.loggers import is_worth_saying

WANTED_FILES: Final = 65_536
"""Open files that the soft limit is raised to; each file sink, connection and room may take some."""
_REAP_SECONDS: Final = 5.0
_OTHERS_MAY_NOT: Final = 0o027


def settle_in() -> None:
    """Once, at the start: space for many open files, and files of ours that others cannot write."""
    raise_file_limit()
    reserve.look()
    os.umask(os.umask(_OTHERS_MAY_NOT) | _OTHERS_MAY_NOT)


def spare_what_is_there() -> None:
    """Once, when all has started: what is there by now stays, so the garbage collector need not look at it.

    While it looks, no thread goes on: some 50 ms, each two seconds where sinks fail at each try.
    """
    gc.collect()
    gc.freeze()


def raise_file_limit() -> None:
    """Raise the soft limit of open files as far as the hard one and good sense allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def mind_descriptors(interval: float = SOON) -> None:
    """See that there are some for links and spool, and have others close some where not. Until cancelled."""
    log, times = structlog.get_logger("tdbwatch"), 0
    while True:
        if not reserve.look():
            times += 1
            if is_worth_saying(times):
                log.error(
                    "process.no_descriptors",
                    limit=limit(),
                    times=times,
                    reason="files and connections take all that the process may have",
                    remedy="raise LimitNOFILE in the unit, or `ulimit -Hn`; until then what is used least is "
                    "closed, and sinks that get none try again",
                )
        await asyncio.sleep(interval)


def open_standard_files() -> None:
    """Make sure that there are descriptors 0, 1 and 2, else the next file to be opened would become one.

    Its content would then be what some library takes for standard output.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free one: this
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for good


async def reap(interval: float = _REAP_SECONDS) -> None:
    """As PID 1 of a container: take leave of ended processes that nobody waits for. Runs until cancelled.

    Those that we started ourselves are waited for at once; what two looks in a row find is somebody else's.
    """
    seen: set[int] = set()
    while True:
        await asyncio.sleep(interval)
        ended = set(ended_children())
        for pid in ended & seen:
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
        seen = ended


def ended_children() -> list[int]:
    """Children of this process that have ended and that nobody has waited for yet."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                state, parent = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
                if state == "Z" and int(parent) == os.getpid():
                    found.append(int(folder.name))
    return found
