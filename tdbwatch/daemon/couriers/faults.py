"""What is logged of a sink's failures: the first one at once, then ever more rarely, and the recovery."""

import asyncio
import concurrent.futures
import os
import traceback
from collections import defaultdict
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any, Final

import structlog

import tdbwatch.daemon
import tdbwatch.plugin
from tdbwatch.clock import Clock
from tdbwatch.plugin.event import format_time
from tdbwatch.redaction import presentable

QUIET: Final = 10.0
"""Seconds between messages about failures that come and go."""
RARELY: Final = 60.0
"""Seconds between messages about what lasts."""
_LOWER_LIMITS: Final = "mend the sink, or give up sooner: retry.max_attempts, retry.max_age"
_WAKE: Final = "mend the receiver; `tdbwatch spool wake {} --config FILE` tries at once"
_PERSISTENT: Final = 4
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


def _story(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
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


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace


class FaultLog:
    """Logs a sink's failures at a sensible rate, naming the sink and its plugin.

    Of failures in a row numbers 1, 2, 4, 8, ... are logged, and another error than the last. A sink that
    fails and works in turn is logged once in `QUIET` seconds, with the number of failures that were not.
    """

    def __init__(self, sink: str, plugin: str, clock: Clock) -> None:
        self._log = structlog.get_logger("tdbwatch.courier").bind(sink=sink, plugin=plugin)
        self._sink = sink
        self._clock = clock
        self._row = 0
        self._loud = False
        self._probed = False
        self._said = ""
        self._unlogged = 0
        self._buried = 0
        self._quiet_until = defaultdict[str, float](lambda: float("-inf"))  # by code

    def failed(self, what: str, error: str, cause: BaseException | None = None, **more: Any) -> None:
        """One more failure in a row; `cause` adds the plugin's traceback."""
        self._row += 1
        now = self._clock.monotonic()
        quiet = now < self._quiet_until["sink.failed"]
        if self._row == 1:
            self._loud = not quiet
        self._loud = self._loud or self._row >= _PERSISTENT
        if not self._loud:
            self._unlogged += 1
        elif self._row & (self._row - 1) == 0 or (error != self._said and not quiet):
            if self._unlogged:
                more["unlogged"] = self._unlogged
            self._warn(what, cause, error=error, failures=self._row, **more)
            self._unlogged, self._said, self._quiet_until["sink.failed"] = 0, error, now + QUIET

    def _warn(self, what: str, cause: BaseException | None, **more: Any) -> None:
        try:
            trace = None if cause is None else _story(cause)
            self._log.warning(what, exc_info=trace, **more)
        except Exception:  # noqa: BLE001 - the traceback of a plugin's exception cannot always be written
            self._log.warning(what, **more)

    def stuck(self, error: str) -> None:
        """The sink's thread does not come back."""
        self._row, self._loud = self._row + 1, True
        self._log.error("sink.stuck", error=error, remedy="it blocks; mend the plugin, then restart")

    def probed(self, error: str, failures: int, next_try: float | None) -> None:
        """The sink is only probed: it failed as a whole, too often in a row. Said once, until it works.

        Args:
            next_try: by the monotonic clock; None: now.
        """
        if self._probed:
            return
        seconds = 0.0 if next_try is None else max(0.0, next_try - self._clock.monotonic())
        self._probed = self._loud = True  # so that its recovery is said, too
        self._log.error(
            "sink.probed",
            failures=failures,
            error=error,
            next_try=format_time(int((self._clock.time() + seconds) * 1e6)),
            remedy="mend what it talks to; then it goes on by itself",
        )

    def paused(self, reason: str, seconds: float) -> None:
        """The sink asked to be left alone: somebody has to act, so it is said each time that it is rare."""
        self._row, self._loud = self._row + 1, True
        if self._may_say("sink.paused", QUIET):
            remedy = _WAKE.format(quote(self._sink))
            self._log.error("sink.paused", error=reason, seconds=round(seconds), remedy=remedy)
        else:
            self._unlogged += 1

    def woken(self) -> None:
        """It is tried at once, since people asked for it to be delivered to."""
        self._quiet_until.pop("sink.paused", None)  # what it answers now is worth a line
        self._log.info("sink.woken", reason="people asked for it")

    def worked(self) -> None:
        """A success: ends the row."""
        if self._row and self._loud:
            self._log.info("sink.recovered", failures=self._row)
        self._row, self._probed = 0, False

    def held_up(self, rooms: int, events: int) -> None:
        """Events of so many rooms, which the sink does not take, keep those of all other rooms from it."""
        if self._may_say("sink.held_up", RARELY):
            self._log.error("sink.held_up", waiting=rooms, events=events, remedy=_LOWER_LIMITS)

    def unreadable(self, error: str) -> None:
        """What is next for the sink cannot be read."""
        if self._may_say("spool.read_failed", RARELY):
            self._log.warning("spool.read_failed", error=error)

    def gave_up(self, events: int, reason: str, error: str) -> None:
        """So many more events are dead letters."""
        self._buried += events
        if self._may_say("sink.dead_letter", QUIET):
            self._log.error("sink.dead_letter", events=self._buried, reason=reason, error=error)
            self._buried = 0

    def _may_say(self, code: str, seconds: float) -> bool:
        """Whether it is time to say this; if so, it is not for so many seconds."""
        now = self._clock.monotonic()
        if now < self._quiet_until[code]:
            return False
        self._quiet_until[code] = now + seconds
        return True
