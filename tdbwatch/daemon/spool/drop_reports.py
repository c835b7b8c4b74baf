"""Telling of undelivered events that were given up: many at once, when it can be told, and why."""

import asyncio
from collections.abc import Callable
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.alarms import Alarms
from tdbwatch.daemon.spool.stored.drops import TOO_FAST, Tally

_SPAN: Final = 1.0
"""Seconds over which rates are measured, at least."""
_LEAST: Final = 1e-3
Point = tuple[float, int, int]
"""A time (monotonic seconds), and what had come and was written until then."""
_WORTH: Final = 20
"""Dropped events for each gap record where it pushes out others: so all of them together push out few."""
_SLOWEST: Final = 60
"""While drops go on, reports come ever more seldom, down to one in so many intervals."""
_POLL: Final = 0.01
"""Seconds between looks whether there is space, at least."""


class Traffic:
    """How many events come in and how many the disk takes, over the last second or two.

    Args:
        now: monotonic seconds.

    Attributes:
        at_loss: the rates when events were lost last; None: never.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.at_loss: tuple[int, int] | None = None
        self._now = now
        self._came = self._written = 0
        self._before = self._latest = (now(), 0, 0)

    def came(self, count: int) -> None:
        self._look()
        self._came += count

    def written(self, count: int) -> None:
        self._look()
        self._written += count

    def lost(self) -> None:
        """Events are lost: later nobody would know how many came now."""
        self.at_loss = self.rates()

    @property
    def note(self) -> str:
        """The rates when events were lost last, in words."""
        if self.at_loss is None:
            return ""
        came, written = self.at_loss
        return f"{came:,} events a second came, {written:,} were written"

    def rates(self) -> tuple[int, int]:
        """Events that came and that were written, each second."""
        self._look()
        now, (since, came, written) = self._now(), self._before
        seconds = max(now - since, _LEAST)
        return round((self._came - came) / seconds), round((self._written - written) / seconds)

    def _look(self) -> None:
        """Begin a new span; after a time of which nothing is known the one before does not count."""
        now = self._now()
        if now >= self._latest[0] + _SPAN:
            here: Point = (now, self._came, self._written)
            self._before, self._latest = (here if now >= self._latest[0] + 2 * _SPAN else self._latest), here


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


class DropReports:
    """Gathers drops.

    They are told of when the spool takes events again: until then their gap records would be dropped, too.
    While gap records would push out undelivered events, they wait until they tell of many; else a full spool
    of many rooms would be emptied by them alone.

    Args:
        alarms: tell of them.
        settled: called once what these append is appended.
        interval: seconds over which drops are gathered.
        space: how many gap records the spool has space for now.

    Attributes:
        traffic: explains drops of what came too fast.
        count: undelivered events given up since the start.
        latest_us: when the latest of them were, in microseconds since the Unix epoch; None: none was.
    """

    def __init__(
        self,
        alarms: Alarms,
        settled: Callable[[Tally], None],
        interval: float,
        space: Callable[[], int],
        clock: Clock,
    ) -> None:
        self.traffic = Traffic(clock.monotonic)
        self.count = 0
        self.latest_us: int | None = None
        self._alarms = alarms
        self._settled = settled
        self._pacing = Pacing(interval)
        self._space = space
        self._clock = clock
        self._put_off = False
        self._gathered: dict[str, Tally] = {}

    def add(self, tally: Tally) -> None:
        """Undelivered events were given up; none, where all were records of ours."""
        if not tally.count:
            return
        if tally.reason == TOO_FAST:
            self.traffic.lost()
        if tally.count > tally.again:
            self.count += tally.count - tally.again
            self.latest_us = int(self._clock.time() * 1_000_000)
        self.add_of_before(tally)

    def add_of_before(self, tally: Tally) -> None:
        """These were given up before the start, and are still to be told of."""
        self._gathered.setdefault(tally.reason, Tally(tally.reason)).merge(tally)
        self.look()

    def look(self, wait: float | None = None) -> None:
        """See to it that it is told, soon: something has changed."""
        if self._gathered and not self._alarms.holding:
            self._pacing.start(self.report, wait)

    def report(self) -> None:
        """Tell of what was gathered, if it can be told now."""
        self._pacing.stop()
        if self._alarms.holding or not self._gathered:
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
        self._gathered = {}

    def _tellable(self) -> list[Tally]:
        """Takes what gap records may be written of now."""
        left, parts = self._space(), list[Tally]()
        for reason, tally in list(self._gathered.items()):
            worth = tally.count - tally.again >= _WORTH * len(tally.rooms)
            part = tally.take(len(tally.rooms) if worth else left)
            left = max(0, left - len(part.rooms))
            if part.rooms:
                parts.append(part)
            if not tally.rooms:
                del self._gathered[reason]
        return parts

    def _report(self, tally: Tally) -> None:
        tally.note = self.traffic.note if tally.reason == TOO_FAST else ""
        self._alarms.dropped(tally)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._settled, tally)

    def _say(self, then: str) -> None:
        for tally in self._gathered.values():
            self._alarms.dropped_untold(tally, then)
