"""What the spool has to say of itself: to those who read the log, and to the one who writes gap records.

Of drops many at once, when it can be told, and why.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Final, Protocol

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.stored.drops import TOO_FAST, Tally

_WORTH: Final = 20
"""Dropped events for each gap record where it pushes out others: so all of them together push out few."""
_SLOWEST: Final = 60
"""While drops go on, reports come ever more seldom, down to one in so many intervals."""
_POLL: Final = 0.01
"""Seconds between looks whether there is space, at least."""


class Listener(Protocol):
    """Hears, in the event loop, what gap records should tell of."""

    def dropped(self, tally: Tally) -> None:
        """Undelivered events were given up."""

    def damaged(self, report: DamageReport) -> None:
        """A damaged file was replaced."""


class Alarms:
    """Says what begins, and what ends.

    Attributes:
        trouble: why the disk does not take events now; None when all is well.
        refusing: the spool is full of what is undelivered, and takes no more.
        catching_up: more is about to be dropped for its age, and one report can tell of all.
        lost_letters: dead letters given up since the start.
        log_bytes: how large SQLite's log was when that was said last; 0: it is as usual.
    """

    def __init__(self, path: Path, listener: Listener | None = None, log: Any = None) -> None:
        self.trouble: str | None = None
        self.refusing = self.catching_up = False
        self.lost_letters = self.log_bytes = 0
        self._listener = listener
        self._log = (log if log is not None else structlog.get_logger("tdbwatch.spool")).bind(path=str(path))

    def disk(self, error: str) -> None:
        """The disk refuses for this reason, or, if it is empty, accepts again."""
        if error and self.trouble is None:
            remedy = "make space, mend the disk, or end who reads it; events are held in memory until then"
            self._log.error("spool.disk_refuses", error=error, remedy=remedy)
        elif not error and self.trouble is not None:
            self._log.warning("spool.disk_accepts_again")
        self.trouble = error or None

    def limits(self, refusing: bool, catching_up: bool) -> None:
        """What follows from the limits now: `refusing` and `catching_up`."""
        if refusing and not self.refusing:
            remedy = "mend the sinks that are behind, or raise spool.max_size; what comes in is dropped"
            self._log.error("spool.full", remedy=remedy)
        elif self.refusing and not refusing:
            self._log.warning("spool.takes_events_again")
        self.refusing, self.catching_up = refusing, catching_up

    def damaged(self, report: DamageReport) -> None:
        remedy = "a new spool was begun; the old file is gone: see who removed it"
        if report.kept:
            look = f"tdbwatch spool doctor --dry-run --spool {quote(str(report.moved_to))}"
            remedy = f"a new spool was begun; for what the old one still holds, see `{look}`"
        self._log.error(
            "spool.damaged",
            error=report.error,
            moved_to=str(report.moved_to) if report.kept else None,
            rescued=report.rescued,
            progress_lost=report.progress_lost,
            remedy=remedy,
        )
        if self._listener is not None:
            self._listener.damaged(report)

    def log_grows(self, size: int) -> None:
        """Someone who reads on and on keeps SQLite from emptying its log; 0: not any more."""
        self.log_bytes = size
        if size:
            remedy = "another process reads the spool and does not let go of it: end that process"
            self._log.error("spool.log_grows", bytes=size, remedy=remedy)
        else:
            self._log.warning("spool.log_is_usual_again")

    def tightened(self, mode: str) -> None:
        """Others could read the file, as after a copy was put in its place."""
        remedy = "only its owner can read it now; see who could before, and give copies the mode 0600"
        self._log.warning("spool.tightened", mode=mode, remedy=remedy)

    def letters_dropped(self, count: int) -> None:
        self.lost_letters += count
        self._log.error("spool.dead_letters_dropped", count=count)

    def dropped(self, tally: Tally, then: str = "") -> None:
        """These were given up. Gap records tell of it now; or something else does `then`."""
        if then:
            self._log.error("spool.dropped", reason=tally.reason, count=tally.count, then=then)
            return
        self._log.error("spool.dropped", reason=tally.reason, count=tally.count)
        if self._listener is not None:
            self._listener.dropped(tally)

    @property
    def holding(self) -> bool:
        """Whether what could be told now would be dropped, too, or is better told a little later."""
        return self.refusing or self.catching_up or self.trouble is not None

    def writer_died(self, error: BaseException) -> str:
        """Nothing is written any more; why."""
        remedy = "restart; this is a mistake of tdbwatch"
        self._log.critical("spool.writer_died", exc_info=error, remedy=remedy)
        self.trouble = f"the writer died: {error!r}"
        return self.trouble


class Pacing:
    """When the next report is due: while drops go on ever more seldom."""

    def __init__(self, interval: float) -> None:
        self.interval = self._wait = interval
        self._told_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def start(self, report: Callable[[], None], wait: float | None = None) -> None:
        """Have `report` called after the usual time, or after `wait` seconds."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            if loop.time() > self._told_at + 2 * self._wait:  # the drops before are over
                self._wait = self.interval
            self._timer = loop.call_later(self._wait if wait is None else wait, report)

    def told(self) -> None:
        self._told_at = asyncio.get_running_loop().time()
        self._wait = min(2 * self._wait, _SLOWEST * self.interval)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@dataclass(slots=True, eq=False)
class DropReports:
    """Gathers drops.

    They are told of when the spool takes events again: until then their gap records would be dropped, too.
    While gap records would push out undelivered events, they wait until they tell of many; else a full spool
    of many rooms would be emptied by them alone.

    Attributes:
        gathered: what is still to be told, by reason.
        count: undelivered events given up since the start.
        latest_us: when the latest of them were, in microseconds since the Unix epoch; None: none was.
    """

    _alarms: Alarms
    _rates: Callable[[], str]
    """Explains, when it happens, why what came too fast is dropped."""
    _settled: Callable[[Tally], None]
    """Called once what the alarms append is appended."""
    _pacing: Pacing
    _space: Callable[[], int]
    """How many gap records the spool has space for now."""
    _clock: Clock
    gathered: dict[str, Tally] = field(default_factory=dict)
    count: int = 0
    latest_us: int | None = None
    _note: str = ""
    _put_off: bool = False

    def add(self, tally: Tally) -> None:
        """Undelivered events were given up; none, where all were records of ours."""
        if not tally.count:
            return
        if tally.reason == TOO_FAST:
            self._note = self._rates()  # later nobody would know how many came now
        if tally.count > tally.again:
            self.count += tally.count - tally.again
            self.latest_us = int(self._clock.time() * 1_000_000)
        self.add_of_before(tally)

    def add_of_before(self, tally: Tally) -> None:
        """These were given up before the start, and are still to be told of."""
        self.gathered.setdefault(tally.reason, Tally(tally.reason)).merge(tally)
        self.look()

    def look(self, wait: float | None = None) -> None:
        """See to it that it is told, soon: something has changed."""
        if self.gathered and not self._alarms.holding:
            self._pacing.start(self.report, wait)

    def report(self) -> None:
        """Tell of what was gathered, if it can be told now."""
        self._pacing.stop()
        if self._alarms.holding or not self.gathered:
            return
        if parts := self._tellable():
            self._put_off = False
            self._pacing.told()
            for part in parts:
                self._report(part)
        elif not self._put_off:
            self._put_off = True
            self._say("gap records tell of it once there is space for them")
        self.look(max(self._pacing.interval, _POLL))

    def end(self, *, counted: bool) -> None:
        """Nothing is written any more; say what was dropped and not told of.

        Args:
            counted: whether the counts are in the file, so that the next start can tell of them.
        """
        self._pacing.stop()
        self._say("the next start tells of it in gap records" if counted else "no gap record will tell of it")
        self.gathered = {}

    def _tellable(self) -> list[Tally]:
        """Takes what gap records may be written of now."""
        left, parts = self._space(), list[Tally]()
        for reason, tally in list(self.gathered.items()):
            worth = tally.count - tally.again >= _WORTH * len(tally.rooms)
            part = tally.take(len(tally.rooms) if worth else left)
            left = max(0, left - len(part.rooms))
            if part.rooms:
                parts.append(part)
            if not tally.rooms:
                del self.gathered[reason]
        return parts

    def _report(self, tally: Tally) -> None:
        tally.note = self._note if tally.reason == TOO_FAST else ""
        self._alarms.dropped(tally)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._settled, tally)

    def _say(self, then: str) -> None:
        for tally in self.gathered.values():
            self._alarms.dropped(tally, then)
