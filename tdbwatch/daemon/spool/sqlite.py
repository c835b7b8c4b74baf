"""The spool in one SQLite file: what the event loop sees of it."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.spool.api import (
    Attempt,
    DamageReport,
    DeadLetter,
    DropReport,
    Entry,
    SpoolError,
    WhenFull,
)
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.lock import SpoolLock
from tdbwatch.daemon.spool.reader import Reader
from tdbwatch.daemon.spool.rows import attempt_of
from tdbwatch.daemon.spool.schema import connect as _connect
from tdbwatch.daemon.spool.store import Connect, Limits
from tdbwatch.daemon.spool.window import Window
from tdbwatch.daemon.spool.writer import News, Writer
from tdbwatch.plugin.event import Event

_MIB: Final = 1 << 20


class SqliteSpool:
    """See `Spool` for the methods, docs/delivery.md for the promises.

    Args:
        path: the file; made if it does not exist, readable by its owner only.
        max_size: bytes of the file beyond which the oldest entries go.
        max_age: seconds after which entries go.
        when_full: what to give up when even the undelivered is too much.
        on_drop: hears, in the event loop, of undelivered events that were given up.
        on_damage: hears, in the event loop, that a damaged file was replaced.
        linger: seconds to wait for company before events are committed.
        max_held: bytes of events kept in memory while the disk does not take them.
        window: bytes of the newest events kept in memory for couriers that are caught up.
        drop_interval: seconds over which drops are gathered into one report.
        retry_interval: seconds between attempts to write to a disk that refuses.
        check_interval: seconds between looks at the file and its limits while nothing is written.
        max_dead_letters: the oldest beyond this many are given up.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        max_size: int = 1 << 30,
        max_age: float = 7 * 86_400.0,
        when_full: WhenFull = "drop_oldest",
        clock: Clock = SYSTEM_CLOCK,
        on_drop: Callable[[DropReport], None] = lambda _: None,
        on_damage: Callable[[DamageReport], None] = lambda _: None,
        linger: float = 0.002,
        max_held: int = 64 * _MIB,
        window: int = 16 * _MIB,
        drop_interval: float = 1.0,
        retry_interval: float = 1.0,
        check_interval: float = 1.0,
        max_dead_letters: int = 100_000,
        connect: Connect = _connect,
        log: Any = None,
    ) -> None:
        self.path = Path(path)
        self.trouble: str | None = None
        """Why the disk does not take events now; None when all is well."""
        self.dropped = 0
        """Undelivered events given up since the start."""
        self._on_drop, self._on_damage = on_drop, on_damage
        self._drop_interval = drop_interval
        self._log = log if log is not None else structlog.get_logger("tdbwatch.spool")
        self._lock = SpoolLock(self.path)
        self._window = Window(window)
        self._inbox = Inbox(max_held, when_full, linger, idle_linger=max(linger, 0.1))
        self._writer = Writer(
            self.path,
            connect,
            self._inbox,
            self._window,
            Limits(max_size, max_age, when_full, max_dead_letters),
            clock,
            self._tell,
            self._floor,
            retry_interval,
            check_interval,
        )
        self._reader = Reader(self.path)
        self._cursors: dict[str, int] = {}
        self._known: set[str] = set()  # the sinks that were asked for since the start
        self._fresh = False
        self._first_seq, self._last_seq = 1, 0
        self._drops: dict[str, Tally] = {}
        self._drop_timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    async def open(self) -> None:
        """Open the file, or begin it; a damaged one is moved aside first.

        Raises:
            SpoolError: another process uses it, a newer version wrote it, or its place cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        """Ends with an exception when the writer died of a mistake of ours; nothing is written any more."""
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        await asyncio.to_thread(self._open)
        self._writer.start()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            store, damage = self._writer.open()
        except SpoolError:
            self._lock.release()
            raise
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise SpoolError(f"the spool {self.path} cannot be opened: {error}") from error
        self._cursors, self._fresh = dict(store.cursors), store.fresh
        self._first_seq, self._last_seq = store.first_seq, store.last_seq
        if damage is not None:
            self._tell(News(damage=damage))

    async def close(self) -> None:
        """Make everything durable and let go of the file. More than once does no harm."""
        if self._loop is None or self._closing:
            return
        self._closing = True
        self._report_drops()
        await asyncio.sleep(0)  # what the drops' listener has to say is appended in the next turn
        self._inbox.close()
        await asyncio.shield(self._stopped)
        await self._reader.close()
        self._lock.release()

    def append(self, events: Sequence[Event]) -> None:
        """Take these events, in order. Never blocks and never raises for trouble with the disk."""
        if events:
            dropped = self._inbox.put(events)
            if dropped:
                self._dropped(Tally("memory").add_events(dropped))

    async def flush(self) -> None:
        """Return when all that was appended and advanced so far is durable."""
        await self._commit(())

    async def _commit(self, letters: Sequence[DeadLetter]) -> None:
        if self._closing:
            raise SpoolError("the spool is closed")
        if self.failed.done():
            raise SpoolError(self.trouble)
        waiter = asyncio.get_running_loop().create_future()
        self._inbox.put_letters(letters, waiter)
        await waiter

    @property
    def last_seq(self) -> int:
        """The newest durable entry; 0 when there never was one."""
        return self._last_seq

    @property
    def first_seq(self) -> int:
        """The oldest entry that is still kept."""
        return self._first_seq

    @property
    def held(self) -> int:
        """Events in memory that wait for a commit."""
        return self._inbox.held

    async def read(self, after: int, limit: int, max_bytes: int) -> list[Entry]:
        """Durable entries after `after`, in order: at most `limit` and about `max_bytes`, at least one.

        Raises:
            SpoolError: the file cannot be read; try again later.
        """
        if after >= self._last_seq:
            return []
        found = self._window.read(after, limit, max_bytes)
        if found is not None:
            return found
        try:
            return await self._reader.read(after, self._last_seq, limit, max_bytes)
        except sqlite3.DatabaseError as error:
            self._writer.report_damage(error)
            raise SpoolError(f"the spool {self.path} cannot be read: {error}") from error

    async def wait_after(self, seq: int) -> None:
        """Return when `last_seq` is greater than `seq`."""
        while self._last_seq <= seq:
            await self._news.wait()

    def cursor(self, sink: str) -> int:
        """The entries up to this one are finished for `sink`; see `Spool.cursor`."""
        self._known.add(sink)
        if sink not in self._cursors:
            self.advance(sink, 0 if self._fresh else self._last_seq)
        return self._cursors[sink]

    def advance(self, sink: str, seq: int) -> None:
        """Move the cursor of `sink` to `seq`; durable with one of the next commits."""
        self._cursors[sink] = seq
        self._inbox.put_cursor(sink, seq)

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these; durable on return."""
        if letters:
            await self._commit(letters)

    def note(self, attempt: Attempt) -> None:
        """Keep this attempt for those who ask what became of an event."""
        self._inbox.put_attempt(attempt)

    async def attempts(self, seq: int) -> list[Attempt]:
        """What was tried with this entry, in order."""
        await self.flush()
        return await asyncio.to_thread(self._attempts, seq)

    def _attempts(self, seq: int) -> list[Attempt]:
        with self.inspect() as connection:
            rows = connection.execute(
                "SELECT * FROM attempts WHERE last_seq >= ? AND first_seq <= ? ORDER BY started_us, rowid",
                (seq, seq),
            )
            return [attempt for attempt in map(attempt_of, rows) if seq in attempt.seqs]

    @contextmanager
    def inspect(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own that only reads; for the status page and the tests."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            yield connection

    def _floor(self) -> int:
        """The newest entry that every sink has finished. Called in the writer's thread.

        Sinks that are gone from the configuration do not count, once the others have asked for theirs.
        """
        cursors = self._cursors.copy()
        known = self._known.copy() or cursors.keys()
        return min((cursors[sink] for sink in known if sink in cursors), default=self._last_seq)

    def _tell(self, news: News) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._heard, news)
        except RuntimeError:  # the loop is gone, and with it everyone who could want to know
            return

    def _heard(self, news: News) -> None:
        if news.trouble is not None:
            self._trouble(news.trouble)
        if news.damage is not None:
            self._damaged(news.damage)
        self._given_up(news)
        if news.entries:
            self._window.extend(news.entries, news.weights)
            self._last_seq = news.entries[-1].seq
            self._news.set()
            self._news.clear()
        for waiter in news.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if news.ended:
            self._end(news.failed)

    def _given_up(self, news: News) -> None:
        if news.forgotten:
            self._first_seq = news.forgotten + 1
            self._window.forget(news.forgotten)
        for tally in news.drops:
            self._dropped(tally)
        if news.lost_letters:
            self._log.error("spool.dead_letters_dropped", count=news.lost_letters, path=str(self.path))

    def _trouble(self, error: str) -> None:
        if error and self.trouble is None:
            self._log.error(
                "spool.disk_refuses",
                error=error,
                path=str(self.path),
                remedy="make space or mend the disk; events are held in memory until then",
            )
        elif not error and self.trouble is not None:
            self._log.warning("spool.disk_accepts_again", path=str(self.path))
        self.trouble = error or None

    def _damaged(self, report: DamageReport) -> None:
        self._log.error(
            "spool.damaged",
            error=report.error,
            moved_to=str(report.moved_to),
            rescued=report.rescued,
            remedy="a new spool was begun; see `tdbwatch spool doctor` for what the old one still holds",
        )
        self._reader.forget()
        self._on_damage(report)

    def _dropped(self, tally: Tally) -> None:
        self.dropped += tally.count
        self._drops.setdefault(tally.reason, Tally(tally.reason)).merge(tally)
        if self._drop_timer is None and self._loop is not None:
            self._drop_timer = self._loop.call_later(self._drop_interval, self._report_drops)

    def _report_drops(self) -> None:
        if self._drop_timer is not None:
            self._drop_timer.cancel()
            self._drop_timer = None
        drops, self._drops = self._drops, {}
        for tally in drops.values():
            report = tally.report()
            self._log.error("spool.dropped", reason=report.reason, count=report.count, path=str(self.path))
            self._on_drop(report)

    def _end(self, failed: BaseException | None) -> None:
        """The writer's thread has ended."""
        self._report_drops()
        if failed is not None:
            self._log.critical("spool.writer_died", exc_info=failed, path=str(self.path))
            self.trouble = f"the writer died: {failed!r}"
            for waiter in self._inbox.abandon():
                if not waiter.done():
                    waiter.set_exception(SpoolError(self.trouble))
            self.failed.set_exception(SpoolError(self.trouble))
            self.failed.exception()  # no warning where nobody watches
        if not self._stopped.done():
            self._stopped.set_result(None)
