"""The one owner of the spool's writing connection: a thread that commits group after group.

Whatever arrives while a commit is under way goes into the next one, so the groups grow with the load. After
each commit the event loop hears of it once. Nothing here raises into the event loop: a disk that does not
take the group is tried again, a damaged file is moved aside and a new one begun.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool import wal
from tdbwatch.daemon.spool.api import DamageReport, Entry
from tdbwatch.daemon.spool.damage import is_damage, is_full
from tdbwatch.daemon.spool.drops import NOT_TAKEN, Tally
from tdbwatch.daemon.spool.handle import Connect
from tdbwatch.daemon.spool.inbox import Group, Inbox
from tdbwatch.daemon.spool.inquiry import Inquiry
from tdbwatch.daemon.spool.leaps import SteadyTime
from tdbwatch.daemon.spool.lock import SpoolLock
from tdbwatch.daemon.spool.news import News
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.daemon.spool.readers import Readers
from tdbwatch.daemon.spool.renewal import Known, place, renew
from tdbwatch.daemon.spool.serving import Serving
from tdbwatch.daemon.spool.store import Store
from tdbwatch.daemon.spool.window import Window, weights_of

_ROWS_PER_STEP: Final = 1_000
_RETRIES_AT_CLOSE: Final = 3
_SHORTLY: Final = 0.02
"""Seconds between looks for an answer of the sinks."""
_FEW_LETTERS: Final = 5


class Writer:
    """Runs `Store` in a thread of its own.

    Args:
        tell: called in the writer's thread with `News`; hands them to the event loop.
        readers: how far the sinks are.
        retry_interval: seconds between attempts to write to a disk that refuses.
        check_interval: seconds between looks at the file and its limits while nothing is written.
    """

    def __init__(
        self,
        path: Path,
        lock: SpoolLock,
        connect: Connect,
        inbox: Inbox,
        window: Window,
        limits: Limits,
        clock: Clock,
        tell: Callable[[News], None],
        readers: Readers,
        retry_interval: float,
        check_interval: float,
        read_first: float,
    ) -> None:
        self._path = path
        self._lock = lock
        self._connect = connect
        self._inbox = inbox
        self._window = window
        self._limits = limits
        self._clock = clock
        self._steady = SteadyTime(clock)
        self._tell = tell
        self._readers = readers
        self._retry_interval = retry_interval
        self._check_interval = check_interval
        self._checked = 0.0
        self._group = Group()
        self._serving = Serving(readers, limits, tell)
        self._inquiry = Inquiry(readers, lambda: tell(News(inquires=True)), read_first)
        self._pruning = self._catching_up = False
        self._trimming = True
        self._lost_letters = 0
        self._missing: int | None = None
        self._refusing = False
        self._log_alarm = 2 * wal.USUAL_BYTES
        self._gave_up = False
        self._uncounted = False
        self._replaced = float("-inf")
        self._reported: sqlite3.Error | None = None
        self._heard = 0
        self._unheard: deque[list[Entry]] = deque()
        self._thread = threading.Thread(target=self._run, name="tdbwatch-spool", daemon=True)

    def open(self) -> tuple[Store, DamageReport | None]:
        """Open the file, or begin it. In the caller's thread, before `start`.

        Raises:
            SpoolError: not a spool, or a newer version's.
            sqlite3.Error, OSError: it cannot be opened.
        """
        try:
            place(self._path, self._connect)
            wal.check(self._path)
            self._store = Store(self._path, self._connect)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._renew(error, None)
        self._inbox.max_group_bytes = min(self._inbox.max_group_bytes, self._store.space.group_bytes)
        return self._store, self._store.damage

    def start(self) -> None:
        with suppress(sqlite3.Error):  # which shows soon enough
            self._store.measure(self._limits, self._floor())
        self._inquiry.begin(self._store.last_seq)
        self._thread.start()

    def room(self) -> int:
        """For gap records, as of the last turn. For other threads."""
        return self._store.room

    def report_damage(self, error: sqlite3.Error) -> None:
        """A reader found the file damaged; the writer deals with it in its next turn."""
        self._reported = error

    def heard(self, seq: int) -> None:
        """The event loop has the entries up to this one in the window; those behind it only we have."""
        self._heard = seq

    def _remember(self, entries: list[Entry]) -> None:
        if entries:
            self._unheard.append(entries)
        while self._unheard and self._unheard[0][-1].seq <= self._heard:
            self._unheard.popleft()

    def _run(self) -> None:
        failed: BaseException | None = None
        try:
            while (group := self._inbox.take(self._patience)) is not None:
                self._turn(group)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the event loop must hear of it
            failed = error
        finally:
            with suppress(sqlite3.Error):
                self._store.close()
            self._tell(
                News(
                    failed=failed,
                    abandoned=self._group.waiters + self._group.buried if failed else [],
                    lost_letters=self._lost_letters,
                    uncounted=self._uncounted,
                    ended=True,
                )
            )

    @property
    def _patience(self) -> float:
        """Seconds to wait for something to write; none, while there is more to do."""
        if self._serving.busy or self._pruning or self._trimming:
            return 0
        return min(_SHORTLY, self._check_interval) if self._inquiry.open else self._check_interval

    def _turn(self, group: Group) -> None:
        self._group = group
        size = len(group.attempts) + len(group.letters)
        self._check()
        news = News()
        self._admit(group, news)
        if not group.empty:
            self._write(group, news)
        self._inbox.done()
        news.waiters = group.waiters + group.buried
        if self._gave_up:  # those who wait for all to be durable must not think that it is
            news.abandoned, news.waiters = group.waiters, group.buried
        self._serve(news)
        self._remember(news.entries)
        self._prune(news, steps=1 + (len(news.entries) + size) // _ROWS_PER_STEP)
        more = self._pruning and bool(news.drops) and news.drops[-1].reason == "max_age"
        if more != self._catching_up:
            self._catching_up = news.catching_up = more
        if self._store.missing != self._missing or news.forgotten:
            news.missing = self._missing = self._store.missing
        waiters, dropped = news.waiters or news.abandoned, news.drops or news.lost_letters
        changed = news.missing is not None or news.catching_up is not None
        if waiters or news.entries or news.forgotten or dropped or changed:
            self._tell(news)

    def _check(self) -> None:
        """See whether the file is still what it should be, now and then."""
        error, self._reported = self._reported, None
        if error is None and time.monotonic() >= self._checked + self._check_interval:
            self._checked = time.monotonic()
            self._lock.hold()
            try:
                self._store.handle.check()
                self._look_at_the_log()
                self._serving.look(self._store)
            except sqlite3.DatabaseError as found:
                error = found if is_damage(found) else None
            except OSError:  # the disk's trouble shows at the next commit
                return
        if error is not None:
            self._replace(error)

    def _look_at_the_log(self) -> None:
        size = wal.size(self._path)
        if size > self._log_alarm:
            self._log_alarm = 2 * size
            self._tell(News(log_bytes=size))
        elif size <= wal.USUAL_BYTES:
            self._log_alarm = 2 * wal.USUAL_BYTES

    def _admit(self, group: Group, news: News) -> None:
        """Under `drop_newest` a full spool takes no more events while the old ones are undelivered."""
        if self._limits.when_full != "drop_newest":
            return
        with suppress(sqlite3.Error):
            refuses = not self._trimming and self._has_no_room()
            if refuses != self._refusing:
                self._refusing = refuses
                self._tell(News(refuses=refuses))
            if refuses and group.events:
                news.drops.append(self._give_up(group, "max_size"))

    def _has_no_room(self) -> bool:
        """Whether the spool is full of what some sink is still to get, as far as one can be sure of that."""
        store, aim = self._store, self._limits.max_size // 64
        while self._floor() < store.first_seq <= store.last_seq and store.full(self._limits):
            if not store.make_room(self._floor(), store.last_seq, aim, self._inquiry):
                return self._inquiry.answered() or self._refusing
        return False

    def _write(self, group: Group, news: News) -> None:
        """Commit the group, however long the disk makes us wait."""
        tries = 0
        while True:
            if tries:
                store = self._store
                self._check()
                if self._store is not store:
                    news.forgotten, news.missing = 0, None  # of the file before
            try:
                self._commit(group, news)
                if tries:
                    self._tell(News(trouble=""))
                return
            except sqlite3.Error as error:
                tries += 1
                if is_damage(error):
                    self._reported = error
                    continue
                if self._reported is None:  # else there is no file, and it was said why
                    self._tell(News(trouble=str(error)))
                if self._inbox.closed and (tries > _RETRIES_AT_CLOSE or self._gave_up):
                    self._write_the_rest(group, news)
                    return
                self._let_pass(group, error)
                self._inbox.pause(self._retry_interval)

    def _let_pass(self, group: Group, error: sqlite3.Error) -> None:
        """Events that wait for space do not hold up what sinks are finished with: that makes some."""
        if not is_full(error):
            return
        self._inbox.join(group)
        with suppress(sqlite3.Error):
            while group.letters:  # a few at once: the log has little space, too
                self._store.commit(Group(letters=group.letters[:_FEW_LETTERS]))
                del group.letters[:_FEW_LETTERS]
            self._tell(News(waiters=group.buried))
            group.buried = []
            self._store.commit(Group(cursors=group.cursors, attempts=group.attempts))
            group.cursors, group.attempts = {}, []
            return
        group.attempts = []  # only history, and a cursor needs hardly any
        with suppress(sqlite3.Error):
            self._store.commit(Group(cursors=group.cursors))
            group.cursors = {}

    def _commit(self, group: Group, news: News) -> None:
        """What is delivered need not stand in the way of what comes in, when it is the disk that is full."""
        store, first_seq = self._store, self._store.first_seq
        try:
            entries = store.commit(group)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
            store.relieve(self._floor(), self._inquiry)
            entries = store.commit(group)
        finally:
            if store.first_seq != first_seq:
                news.forgotten = store.first_seq - 1
        news.entries, news.weights = entries, group.weights

    def _write_the_rest(self, group: Group, news: News) -> None:
        """Give the events up, since we end now, but not their count and all else, if that still fits."""
        if group.events:
            news.drops.append(self._give_up(group, NOT_TAKEN))
        self._gave_up = True
        with suppress(sqlite3.Error):
            self._store.commit(group)
            return
        group.letters, group.attempts = [], []
        group.waiters, group.buried = group.waiters + group.buried, []
        try:
            self._store.commit(group)
        except sqlite3.Error:
            self._uncounted = self._uncounted or bool(group.drops)

    def _give_up(self, group: Group, reason: str) -> Tally:
        tally = Tally(reason).add_events(group.events)
        group.count(tally)
        group.events, group.weights = [], []
        return tally

    def _serve(self, news: News) -> None:
        """One step of what people asked for."""
        self._serving.busy = False
        if self._inbox.closed:
            return
        try:
            entries = self._serving.step(self._store, self._floor(), self._now_us())
        except sqlite3.Error as error:
            self._serving.put_off()
            if is_damage(error):
                self._reported = error
        else:
            news.entries = news.entries + entries
            news.weights = news.weights + weights_of(entry.event for entry in entries)

    def _now_us(self) -> int:
        return int(self._steady.now() * 1e6)

    def _floor(self) -> int:
        return self._readers.floor(self._store.last_seq)

    def _prune(self, news: News, steps: int) -> None:
        """Keep the limits, in so many small steps; what is left of them is for the next turns, at once."""
        store, now_us = self._store, self._now_us()
        self._pruning = False
        try:
            # No event goes for dead letters, or for history.
            if self._trim_letters(news, steps) or self._trim_attempts(2 * steps):
                return
            while steps and (tally := self._give_way(now_us)) is not None:
                steps -= 1
                news.forgotten = store.first_seq - 1
                if tally.count:
                    news.drops.append(tally)
            self._pruning = not steps and store.more_to_prune
        except sqlite3.Error as error:
            if is_damage(error):
                self._reported = error

    def _give_way(self, now_us: int) -> Tally | None:
        sparing, inquiry = self._serving.lagging, self._inquiry
        return self._store.prune(self._limits, self._floor(), now_us, inquiry, sparing=sparing)

    def _trim_letters(self, news: News, steps: int) -> bool:
        """Whether more of them must go."""
        self._trimming = False
        for _ in range(steps):
            lost = self._store.trim_dead_letters(self._limits)
            self._lost_letters += lost
            if not lost:
                break
        else:
            self._trimming = True
            return True
        news.lost_letters, self._lost_letters = self._lost_letters, 0  # what went in a row is told of at once
        return False

    def _trim_attempts(self, steps: int) -> bool:
        """Whether more of them must go."""
        floor = self._readers.floor(self._store.last_seq, self._store.cursors)
        return all(self._store.trim_attempts(self._limits, floor) for _ in range(steps))

    def _replace(self, error: sqlite3.Error) -> None:
        """Go on with a new file, under the same numbers and with what memory still holds."""
        if time.monotonic() < self._replaced + self._retry_interval:
            self._inbox.pause(self._retry_interval)  # a disk that spoils one file after the other
        self._replaced = time.monotonic()
        store = self._store
        try:
            report = self._renew(error, self._known())
        except (sqlite3.Error, OSError) as trouble:
            self._reported = error  # until there is space, or the folder can be written again
            self._tell(News(trouble=str(trouble)))
            self._inbox.pause(self._retry_interval)
        else:
            with suppress(sqlite3.Error):
                store.close()
            with suppress(sqlite3.Error):
                self._serving.renewed(self._store)
            forgotten, missing = self._store.first_seq - 1, self._store.missing
            self._tell(News(damage=report, forgotten=forgotten, missing=missing, trouble=""))

    def _known(self) -> Known:
        store, newest = self._store, self._window.snapshot()
        last = newest[-1].seq if newest else 0
        newest += [entry for part in self._unheard for entry in part if entry.seq > last]
        moved = store.handle.moved
        if not moved:
            with suppress(sqlite3.Error):
                store.close()
        connection = store.handle.connection if moved else None
        return Known(self._floor(), store.last_seq, store.cursors, newest, connection)

    def _renew(self, error: sqlite3.Error, known: Known | None) -> DamageReport:
        self._store, report = renew(self._path, self._connect, error, self._clock.time(), known)
        return report
