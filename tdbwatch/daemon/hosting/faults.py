"""What is shown of an exception that a sink raised."""

import asyncio
import concurrent.futures
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import tdbwatch.daemon
import tdbwatch.plugin
from tdbwatch.redaction import presentable

_OURS: Final = tuple(
    str(Path(package.__file__ or "").parent) + os.sep
    for package in (tdbwatch.daemon, tdbwatch.plugin, asyncio, concurrent.futures)
)
"""Where the code is that calls sinks. Sinks of ours are not there: they are plugins like others."""


def describe(error: BaseException) -> str:
    """The error as it may be shown; the names of exceptions of ours say nothing to people."""
    try:
        ours = type(error).__module__.startswith("tdbwatch.daemon.")
        text = str(error) if ours and str(error) else "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # noqa: BLE001 - an exception's own attributes can be anything, too
        text = type(error).__name__
    return presentable(text)


def story(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """An exception from the plugin's first frame on: how we came to call it says nothing of its mistake.

    Where no frame is but ours, it is one that stands for what the plugin raised, or the mistake is in how we
    call it: then all is shown.
    """
    blamed: BaseException | None = error
    while blamed is not None:
        if (theirs := _theirs(blamed.__traceback__)) is not None:
            return type(blamed), blamed, theirs
        blamed = blamed.__cause__
    return type(error), error, error.__traceback__


def say(log: Callable[..., Any], event: str, raised: BaseException | None, /, **more: Any) -> None:
    """Log `event` with what a sink raised, told from the plugin's first frame on.

    Args:
        log: a method of a logger.
    """
    try:
        log(event, exc_info=None if raised is None else story(raised), **more)
    except Exception:  # noqa: BLE001 - the traceback of a plugin's exception cannot always be written
        log(event, **more)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace
