"""The one owner of the spool's file: a thread that commits group after group.

Whatever arrives while a commit is under way goes into the next one, so the groups grow with the load. After
each commit the event loop hears of it once. Nothing here raises into the event loop: a disk that does not
take the group is tried again, a damaged file is moved aside and a new one begun.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.errors import is_damage, is_full, trusting_nothing
from tdbwatch.daemon.spool.group import Group, TurnReport
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.limits.upkeep import Upkeep
from tdbwatch.daemon.spool.stored.drops import DISK_REFUSED, MAX_SIZE
from tdbwatch.daemon.spool.stored.log import weight
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import GoneError, Store
from tdbwatch.daemon.spool.survival.watch import FileWatch

_RETRIES_AT_CLOSE: Final = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How the writer waits, in seconds.

    Attributes:
        linger: for company, before events are committed.
        retry: between attempts to write to a disk that refuses.
        check: between looks at the file and its limits while nothing is written.
        drops: over which drops are gathered into one report.
    """

    linger: float = 0.002
    retry: float = 1.0
    check: float = 1.0
    drops: float = 1.0


class Writer:
    """Runs a `Store` in a thread of its own.

    Args:
        files: opens the store, and replaces it.
        sinks: those of the configuration; None: all that there are. Later a group may name others.
        tell: called in the writer's thread; hands the report to the event loop.
    """

    def __init__(
        self,
        files: FileWatch,
        inbox: Inbox,
        limits: Limits,
        pace: Pace,
        sinks: Collection[str] | None,
        clock: Clock,
        tell: Callable[[TurnReport], None],
    ) -> None:
        self._files = files
        self._inbox = inbox
        self._pace = pace
        self._sinks = sinks
        self._tell = tell
        self._limits = limits
        self._upkeep = Upkeep(limits, clock)
        self._max_log = limits.max_log
        self.turns = 0
        """How often it has come round. For other threads."""
        self.renewing = False
        """Whether a damaged file is being replaced, which takes as long as it takes. For other threads."""
        self._group = Group()
        self._states = (False, False)
        self._gave_up = self._uncounted = False
        self._thread = threading.Thread(target=self._run, name="tdbwatch-spool", daemon=True)

    def start(self) -> None:
        with suppress(sqlite3.Error):  # which shows soon enough
            self._upkeep.size.measure(self._store, self._reach())
        self._inbox.group_bytes = min(self._inbox.group_bytes, self._store.space.group_bytes)
        self._thread.start()

    @property
    def gap_records(self) -> int:
        """How many gap records there is space for, as of the last turn. For other threads."""
        return self._upkeep.size.gap_records

    @property
    def _store(self) -> Store:
        return self._files.store

    def _reach(self) -> Reach:
        return self._store.reach(self._sinks)

    def _run(self) -> None:
        failed: BaseException | None = None
        try:
            while (group := self._inbox.take(self._patience)) is not None:
                self._turn(group)
                self.turns += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, the event loop must hear of it
            failed = error
        finally:
            with suppress(sqlite3.Error):
                self._store.close()
            left = self._group.waiting if failed else ()
            self._tell(TurnReport(failed=failed, abandoned=left, uncounted=self._uncounted, ended=True))

    @property
    def _patience(self) -> float:
        """Seconds to wait for something to write; none, while there is more to do."""
        return 0 if self._upkeep.busy else self._pace.check

    def _turn(self, group: Group) -> None:
        self._group = group
        if group.sinks is not None:
            self._sinks = group.sinks
        if self._inbox.limits is not self._limits:
            self._keep_to(self._inbox.limits)
        report = TurnReport()
        self._check()
        if group.packings and self._upkeep.refuses:
            report.drops.append(group.give_up_events(MAX_SIZE))
        if not group.empty:
            self._write(group, report)
        self._inbox.done()
        if self._gave_up:  # those who wait for all to be durable must not think that it is
            report.abandoned = (*report.abandoned, *group.waiters)
            group.waiters = []
        report.waiters = (*group.waiters, *group.savers)
        self._copy(group, report)
        self._tidy(report)
        if report.blocks or report.gone:
            report.extent = (self._store.first_seq, self._store.entries)
        self._files.remember(report.blocks)
        if report.says_anything:
            self._tell(report)

    def _keep_to(self, limits: Limits) -> None:
        """Others hold from now on."""
        self._limits = limits
        self._upkeep.keep_to(limits)
        self._max_log = limits.max_log
        self._inbox.group_bytes = min(limits.group_bytes, self._store.space.group_bytes)
        with suppress(sqlite3.Error):  # which shows soon enough
            self._upkeep.size.measure(self._store, self._reach())

    # -- the file ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        """See whether the file is still what it should be, now and then."""
        if not self._files.due(self._pace.check):
            return
        if (error := self._files.look()) is not None:
            self._replace(error)
        if (size := self._files.log_grew()) is not None:
            self._tell(TurnReport(log_bytes=size))

    def _replace(self, error: sqlite3.Error) -> None:
        """Go on with a new file, under the same numbers and with what memory still holds."""
        if self._files.replaced_within(self._pace.retry):
            self._inbox.pause(self._pace.retry)  # a disk that spoils one file after the other
        self.renewing = True
        try:
            damage = self._files.replace(error, self._sinks)
        except (sqlite3.Error, OSError) as trouble:
            self._files.suspect(error)  # until there is space, or the folder can be written again
            self._tell(TurnReport(trouble=str(trouble)))
            self._inbox.pause(self._pace.retry)
        else:
            self._upkeep.keep_to(self._limits)
            extent = (self._store.first_seq, self._store.entries)
            self._tell(TurnReport(damage=damage, extent=extent, trouble=""))
        finally:
            self.renewing = False

    # -- writing -----------------------------------------------------------------------------------------

    def _write(self, group: Group, report: TurnReport) -> None:
        """Commit the group, however long the disk makes us wait."""
        tries = 0
        while True:
            if tries:
                self._check()
            try:
                self._commit(group, report)
                if tries:
                    self._tell(TurnReport(trouble=""))
                return
            except sqlite3.Error as error:
                tries += 1
                if is_damage(error):
                    self._files.suspect(error)
                    continue
                if not self._files.suspected:  # else there is no file, and it was said why
                    self._tell(TurnReport(trouble=str(error)))
                if self._inbox.closed and (tries > _RETRIES_AT_CLOSE or self._gave_up):
                    self._write_the_rest(group, report)
                    return
                self._let_pass(group, error)
                self._inbox.pause(self._pace.retry)

    def _commit(self, group: Group, report: TurnReport) -> None:
        """What is delivered need not stand in the way of what comes in, when it is the disk that is full."""
        if group.packings:  # what ends events is always taken: there is an end of it
            self._files.bound_log(self._max_log)
        try:
            report.blocks = self._store.commit(group)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
            with trusting_nothing():
                for gone in self._upkeep.size.relieve(self._store, self._reach()):
                    report.gone += gone
            report.blocks = self._store.commit(group)

    def _let_pass(self, group: Group, error: sqlite3.Error) -> None:
        """Events that wait for space do not hold up what sinks are finished with: that makes some.

        Nor do the dead letters of one sink hold up the others.
        """
        if not is_full(error):
            return
        self._inbox.join(group)
        for sink in {**group.progress, **group.values}:
            with suppress(sqlite3.Error):
                self._store.commit(part := group.of_sink(sink))
                group.progress.pop(sink, None)
                group.values.pop(sink, None)
                self._tell(TurnReport(waiters=part.savers))
        with suppress(sqlite3.Error):
            self._store.commit(Group(attempts=group.attempts))
        group.attempts = []  # written or not: they are only history

    def _write_the_rest(self, group: Group, report: TurnReport) -> None:
        """Give the events up, since we end now, but not their count and all else, if that still fits."""
        if group.packings:
            report.drops.append(group.give_up_events(DISK_REFUSED))
        group.beat = None  # what was heard before it is lost: the gap begins with the one before
        self._gave_up = True
        with suppress(sqlite3.Error):
            self._store.commit(group)
            return
        group.attempts = []
        lost = [sink for sink, change in group.progress.items() if change.letters]
        report.abandoned = [waiter for sink in lost for waiter in group.progress.pop(sink).waiters]
        try:
            self._store.commit(group)
        except sqlite3.Error:
            self._uncounted = self._uncounted or bool(group.drops)

    def _copy(self, group: Group, report: TurnReport) -> None:
        """Add the copies that people ordered, each order's in a commit of its own."""
        for copies in group.copies:
            done = False
            try:
                size = weight(copies.rows(0), -1)
                with trusting_nothing():
                    there_is_space = self._upkeep.size.takes_copies(self._store, self._reach(), size)
                if there_is_space:
                    self._files.bound_log(self._max_log)
                    report.blocks = report.blocks + self._store.redeliver(copies, self._upkeep.now_us())
                    done = True
            except GoneError:  # the order is looked at anew
                pass
            except sqlite3.Error as error:
                if is_damage(error):
                    self._files.suspect(error)
            report.copied.append((copies.done, done))

    def _tidy(self, report: TurnReport) -> None:
        """Keep the limits, in small steps; what is left of them is for the next turns, at once."""
        try:
            with trusting_nothing():
                for step in self._upkeep.steps(self._store, self._reach, report.blocks):
                    report.gone += step.gone
                    if step.tally is not None and step.tally.rooms:
                        report.drops.append(step.tally)
        except sqlite3.Error as error:
            if is_damage(error):
                self._files.suspect(error)
        report.lost_letters = self._upkeep.lost_letters()
        states = self._upkeep.refuses, self._upkeep.catching_up
        if states != self._states:
            self._states = report.refuses, report.catching_up = states
