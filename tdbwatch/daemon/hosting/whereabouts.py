"""Where in a sink's code a call is that does not come back: what its author needs to know first."""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, Final

import tdbwatch

_ALL: Final = str(Path(tdbwatch.__file__).parent)
_DAEMON: Final = str(Path(_ALL, "daemon"))
_PLUGIN: Final = str(Path(_ALL, "plugin"))
_ASYNCIO: Final = str(Path(asyncio.__file__).parent)

_Frame = tuple[str, int]
"""A file, and a line of it."""


def place_of_call(task: "asyncio.Task[Any]", thread: int) -> str:
    """`file:line` of the sink's own code where this task is; empty: nobody knows, or it is a sink of ours.

    May be asked from any thread.

    Args:
        thread: of its event loop.
    """
    coroutine: Any = task.get_coro()
    running = getattr(coroutine, "cr_running", False)
    return _place_in(_stack(thread, coroutine.cr_code) if running else _awaited(coroutine))


def _place_in(frames: Iterable[_Frame]) -> str:
    """The innermost of these that is beside the sink's first; what it calls is mostly others' code."""
    theirs = [frame for frame in frames if not frame[0].startswith((_DAEMON, _PLUGIN, _ASYNCIO))]
    if not theirs or theirs[0][0].startswith(_ALL):
        return ""
    folder = Path(theirs[0][0]).parent
    file, line = [frame for frame in theirs if Path(frame[0]).is_relative_to(folder)][-1]
    return f"{file}:{line}"


def _stack(thread: int, code: CodeType) -> list[_Frame]:
    """What a thread does right now within the call of this code, from the outermost call on."""
    frame, frames = sys._current_frames().get(thread), list[_Frame]()  # noqa: SLF001 - there is no other way
    while frame is not None and frame.f_code is not code:
        frames.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return frames[::-1]


def _awaited(coroutine: Any) -> Iterator[_Frame]:
    """Where a coroutine waits, and where each that it awaits does."""
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            if (frame := getattr(coroutine, f"{kind}_frame", None)) is not None:
                yield frame.f_code.co_filename, frame.f_lineno
        after = ("cr_await", "gi_yieldfrom", "ag_await")
        coroutine = next(filter(None, (getattr(coroutine, name, None) for name in after)), None)
