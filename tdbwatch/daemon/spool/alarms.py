"""What the spool has to say of itself, in the event loop: trouble with the disk, damage, drops."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any, Final

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.api import DamageReport, DropReport
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.requests import Request

_WORTH: Final = 20
"""Dropped events for each gap record where it pushes out others: so all of them together push out few."""
_SLOWEST: Final = 60
"""While drops go on, reports come ever more seldom, down to one in so many intervals."""
_POLL: Final = 0.01
"""Seconds between looks whether there is room, at least."""


class Alarms:
    """Logs, and tells those who listen.

    Drops are told of when the spool takes events again: until then their gap records would be dropped, too.
    While gap records would push out undelivered events, they wait until they tell of many; else a full spool
    of many rooms would be emptied by them alone.

    Args:
        room: how many gap records the spool has room for now.
        on_drop: hears of undelivered events that were given up, gathered over `drop_interval` seconds.
        on_damage: hears that a damaged file was replaced.
        settled: called once what `on_drop` appends is appended.
        damage_told: the same for `on_damage`.

    Attributes:
        trouble: why the disk does not take events now; None when all is well.
        dropped: undelivered events given up since the start.
        lost_letters: dead letters given up since the start.
        dropped_us: when the latest of them were, in microseconds since the Unix epoch; None: none was.
    """

    def __init__(
        self,
        path: Path,
        on_drop: Callable[[DropReport], None],
        on_damage: Callable[[DamageReport], None],
        settled: Callable[[DropReport], None],
        damage_told: Callable[[], None],
        drop_interval: float,
        room: Callable[[], int],
        clock: Clock,
        log: Any = None,
    ) -> None:
        self.trouble: str | None = None
        self.dropped = self.lost_letters = 0
        self.dropped_us: int | None = None
        self._clock = clock
        self._path = str(path)
        self._on_drop, self._on_damage = on_drop, on_damage
        self._settled, self._damage_told = settled, damage_told
        self._drop_interval = self._wait = drop_interval
        self._room = room
        self._told_at = float("-inf")
        self._put_off = False
        self._log = log if log is not None else structlog.get_logger("tdbwatch.spool")
        self._drops: dict[str, Tally] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._refusing = self._catching_up = False

    def disk(self, error: str) -> None:
        """The disk refuses for this reason, or, if it is empty, accepts again."""
        if error and self.trouble is None:
            self._log.error(
                "spool.disk_refuses",
                error=error,
                path=self._path,
                remedy="make space or mend the disk; events are held in memory until then",
            )
        elif not error and self.trouble is not None:
            self._log.warning("spool.disk_accepts_again", path=self._path)
        self.trouble = error or None
        self._tell_later()

    def refuses(self, refusing: bool) -> None:
        """Under `drop_newest`: the spool is full of what is undelivered, or not any more."""
        if refusing and not self._refusing:
            self._log.error(
                "spool.full",
                path=self._path,
                remedy="mend the sinks that are behind, or raise spool.max_size; what comes in is dropped",
            )
        elif self._refusing and not refusing:
            self._log.warning("spool.takes_events_again", path=self._path)
        self._refusing = refusing
        self._tell_later()

    def catches_up(self, catching_up: bool) -> None:
        """More is about to be dropped for its age, and one report can tell of all; or that was it."""
        self._catching_up = catching_up
        self._tell_later()

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
            remedy=remedy,
        )
        self._on_damage(report)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._damage_told)

    def log_grows(self, size: int) -> None:
        """Someone who reads on and on keeps SQLite from emptying its log."""
        self._log.error(
            "spool.log_grows",
            bytes=size,
            path=self._path,
            remedy="another process reads the spool and does not let go of it: end that process",
        )

    def missed(self, request: Request) -> None:
        """The limits took delivered events before they were copied for this one."""
        self._log.warning(
            "spool.replay_missed",
            sink=request.sink,
            records=request.missed,
            path=self._path,
            remedy="the spool was full of newer ones; raise spool.max_size, or replay less at once",
        )

    def letters_dropped(self, count: int) -> None:
        self.lost_letters += count
        self._log.error("spool.dead_letters_dropped", count=count, path=self._path)

    def drop(self, tally: Tally) -> None:
        """Undelivered events were given up; none, where all were records of ours."""
        if not tally.count:
            return
        if tally.count > tally.again:
            self.dropped += tally.count - tally.again
            self.dropped_us = int(self._clock.time() * 1_000_000)
        self._gather(tally)

    def dropped_before(self, tally: Tally) -> None:
        """These were given up before the start, and are still to be told of."""
        self._gather(tally)

    def _gather(self, tally: Tally) -> None:
        self._drops.setdefault(tally.reason, Tally(tally.reason)).merge(tally)
        self._tell_later()

    def _tell_later(self, wait: float | None = None) -> None:
        if self._drops and self._timer is None and not self._holding:
            loop = asyncio.get_running_loop()
            if loop.time() > self._told_at + 2 * self._wait:  # the drops before are over
                self._wait = self._drop_interval
            self._timer = loop.call_later(self._wait if wait is None else wait, self.report_drops)

    @property
    def _holding(self) -> bool:
        return self._refusing or self._catching_up or self.trouble is not None

    def report_drops(self) -> None:
        """Tell of what was gathered, if it can be told now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._holding or not self._drops:
            return
        if parts := self._tellable():
            self._put_off = False
            self._told_at = asyncio.get_running_loop().time()
            self._wait = min(2 * self._wait, _SLOWEST * self._drop_interval)
            for part in parts:
                self._report(part)
        elif not self._put_off:
            self._put_off = True
            for tally in self._drops.values():
                self._say(tally, then="gap records tell of it once there is room for them")
        self._tell_later(max(self._drop_interval, _POLL))

    def _tellable(self) -> list[Tally]:
        """Takes what gap records may be written of now."""
        left, parts = self._room(), list[Tally]()
        for reason, tally in list(self._drops.items()):
            worth = tally.count - tally.again >= _WORTH * len(tally.rooms)
            part = tally.take(len(tally.rooms) if worth else left)
            left = max(0, left - len(part.rooms))
            if part.rooms:
                parts.append(part)
            if not tally.rooms:
                del self._drops[reason]
        return parts

    def _report(self, tally: Tally) -> None:
        report = tally.report()
        self._say(tally)
        self._on_drop(report)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._settled, report)

    def _say(self, tally: Tally, **more: str) -> None:
        self._log.error("spool.dropped", reason=tally.reason, count=tally.count, path=self._path, **more)

    def ends(self) -> None:
        """Tell what can be told before nothing is written any more."""
        self._catching_up = False
        self.report_drops()

    def ended(self, *, counted: bool) -> None:
        """Nothing is written any more; say what was dropped and not told of.

        Args:
            counted: whether the counts are in the file, so that the next start can tell of them.
        """
        if self._timer is not None:
            self._timer.cancel()
        then = "the next start tells of it in gap records" if counted else "no gap record will tell of it"
        for tally in self._drops.values():
            self._say(tally, then=then)
        self._drops = {}

    def writer_died(self, error: BaseException) -> str:
        """Nothing is written any more; why."""
        self._log.critical(
            "spool.writer_died",
            exc_info=error,
            path=self._path,
            remedy="restart; this is a mistake of tdbwatch",
        )
        self.trouble = f"the writer died: {error!r}"
        return self.trouble
