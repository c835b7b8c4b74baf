"""The spool in one SQLite file: what the event loop sees of it."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.spool.alarms import Alarms
from tdbwatch.daemon.spool.api import (
    Attempt,
    DamageReport,
    DeadLetter,
    DropReport,
    Entry,
    History,
    SpoolError,
    WhenFull,
)
from tdbwatch.daemon.spool.damage import is_damage
from tdbwatch.daemon.spool.foreign import refuse_foreign
from tdbwatch.daemon.spool.handle import Connect
from tdbwatch.daemon.spool.history import NO_HISTORY, attempts_at
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.lock import SpoolLock
from tdbwatch.daemon.spool.news import News
from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.daemon.spool.reader import Reader
from tdbwatch.daemon.spool.readers import Readers, Reading
from tdbwatch.daemon.spool.schema import connect as _connect
from tdbwatch.daemon.spool.store import Store
from tdbwatch.daemon.spool.window import Window
from tdbwatch.daemon.spool.writer import Writer
from tdbwatch.plugin.event import Event

_MIB: Final = 1 << 20
_EVENT_SHARE: Final = 4
"""A single event may take one part in so many of `max_size`."""
_T = TypeVar("_T")


class SqliteSpool:
    """See `Spool` for the methods, docs/delivery.md for the promises.

    Args:
        path: the file; made if it does not exist, readable by its owner only.
        max_size: bytes of the file beyond which the oldest entries go. No event may be larger than a quarter.
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
        sinks: the names of all that will ask for a cursor: until they do, what they have not got counts as
            undelivered all the same.
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
        window: int = 48 * _MIB,
        drop_interval: float = 1.0,
        retry_interval: float = 1.0,
        check_interval: float = 1.0,
        read_first: float = 5.0,
        max_dead_letters: int = 100_000,
        sinks: Collection[str] | None = None,
        connect: Connect = _connect,
        log: Any = None,
    ) -> None:
        self.path = Path(path)
        self._lock = SpoolLock(self.path)
        self._window = Window(window)
        self._inbox = Inbox(
            max_held, max_size // _EVENT_SHARE, when_full, linger, idle_linger=max(linger, 0.1)
        )
        self._alarms = Alarms(
            self.path,
            on_drop,
            on_damage,
            self._inbox.put_settled,
            self._inbox.put_damage_told,
            drop_interval,
            self._room,
            clock,
            log,
        )
        self._readers = Readers(sinks)
        self._writer = Writer(
            self.path,
            self._lock,
            connect,
            self._inbox,
            self._window,
            Limits(max_size, max_age, when_full, max_dead_letters),
            clock,
            self._tell,
            self._readers,
            retry_interval,
            check_interval,
            read_first,
        )
        self._reader = Reader(self.path)
        self._histories: dict[str, History] = {}
        self._fresh = False
        self._first_seq, self._last_seq, self._missing = 1, 0, 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    @property
    def trouble(self) -> str | None:
        """Why the disk does not take events now; None when all is well."""
        return self._alarms.trouble

    @property
    def dropped(self) -> int:
        """Undelivered events given up since the start."""
        return self._alarms.dropped

    @property
    def dropped_us(self) -> int | None:
        """When the latest of these were, in microseconds since the Unix epoch; None: none was."""
        return self._alarms.dropped_us

    @property
    def lost_letters(self) -> int:
        """Dead letters given up since the start."""
        return self._alarms.lost_letters

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
        store, damage = await asyncio.to_thread(self._open)
        self._fresh = store.fresh
        self._first_seq, self._last_seq, self._missing = store.first_seq, store.last_seq, store.missing
        for sink, seq in self._readers.load(store.cursors, self._start).items():
            self.advance(sink, seq)
        for tally in store.unsettled():
            self._alarms.dropped_before(tally)
        self._writer.start()
        if damage is not None:
            self._damaged(damage)

    def _open(self) -> tuple[Store, DamageReport | None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            refuse_foreign(self.path)
            self._lock.acquire()
            store, damage = self._writer.open()
            self._histories = {sink: store.history(sink) for sink in store.cursors}
            return store, damage
        except SpoolError:
            self._lock.release()
            raise
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise SpoolError(f"the spool {self.path} cannot be opened: {error}") from error

    async def close(self) -> None:
        """Make everything durable and let go of the file. More than once does no harm."""
        if self._loop is None or self._closing:
            return
        self._closing = True
        self._alarms.ends()
        for _ in range(2):  # what the drops' listener has to say is appended in the next turn
            await asyncio.sleep(0)
        self._inbox.close()
        await asyncio.shield(self._stopped)
        await self._reader.close()
        self._lock.release()

    def append(self, events: Sequence[Event]) -> None:
        """Take these events, in order. Never blocks and never raises for trouble with the disk."""
        if events:
            for tally in self._inbox.put(events):
                self._alarms.drop(tally)
                self._inbox.put_drops(tally)

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
    def entries(self) -> int:
        """How many entries the log holds, delivered or not."""
        return max(0, self._last_seq - self._first_seq + 1 - self._missing)

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
        except sqlite3.Error as error:
            if is_damage(error):
                self._writer.report_damage(error)
            raise SpoolError(f"the spool {self.path} cannot be read: {error}") from error

    async def wait_after(self, seq: int) -> None:
        """Return when `last_seq` is greater than `seq`."""
        while self._last_seq <= seq:
            await self._news.wait()

    @property
    def _start(self) -> int:
        """Where a new sink begins."""
        return 0 if self._fresh else self._last_seq

    def cursor(self, sink: str) -> int:
        """The entries up to this one are finished for `sink`; see `Spool.cursor`."""
        if sink not in self._readers:
            self.advance(sink, self._start)
        return self._readers.cursor(sink)

    def reads(
        self,
        sink: str,
        wants: Callable[[Event], bool],
        backlog: Callable[[int], int],
        asked: Callable[[], None] = lambda: None,
        pending: Callable[[], Pending] | None = None,
    ) -> None:
        """What people ask to be delivered to `sink` again is served from now on."""
        unknown = partial(Pending, 0)
        self._readers.begin(sink, Reading(wants, backlog, asked, pending or unknown))

    def advance(self, sink: str, seq: int) -> None:
        """Move the cursor of `sink` to `seq`; durable with one of the next commits."""
        self._readers.advance(sink, seq)
        self._inbox.put_cursor(sink, seq)

    def history(self, sink: str) -> History:
        """What was tried before the start with the entries beyond the cursor, as far as the file tells."""
        return self._histories.pop(sink, NO_HISTORY)

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
        return await asyncio.to_thread(self._ask, attempts_at, seq)

    def _ask(self, question: Callable[..., _T], *args: Any) -> _T:
        with self.inspect() as connection:
            return question(connection, *args)

    @contextmanager
    def inspect(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own that only reads; for the status page and the tests."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            yield connection

    def _room(self) -> int:
        return self._writer.room()

    def _tell(self, news: News) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._heard, news)
        except RuntimeError:  # the loop is gone, and with it everyone who could want to know
            return

    def _heard(self, news: News) -> None:
        self._alarm(news)
        self._given_up(news)
        for sink in news.asked:
            self._readers.asked(sink)
        if news.inquires:
            self._readers.answer()
        if news.entries:
            self._window.extend(news.entries, news.weights)
            self._last_seq = news.entries[-1].seq
            self._writer.heard(self._last_seq)
            self._news.set()
            self._news.clear()
        for waiter in news.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if news.ended:
            self._end(news)
        else:
            _fail(news.abandoned, SpoolError(f"the disk did not take it: {self.trouble}"))

    def _alarm(self, news: News) -> None:
        if news.trouble is not None:
            self._alarms.disk(news.trouble)
        if news.refuses is not None:
            self._alarms.refuses(news.refuses)
        if news.log_bytes is not None:
            self._alarms.log_grows(news.log_bytes)
        if news.damage is not None:
            self._damaged(news.damage)
        if news.missed is not None:
            self._alarms.missed(news.missed)

    def _given_up(self, news: News) -> None:
        if news.missing is not None:
            self._missing = news.missing
        if news.forgotten or news.damage is not None:
            self._first_seq = news.forgotten + 1
            self._window.forget(news.forgotten)
        for tally in news.drops:
            self._alarms.drop(tally)
        if news.catching_up is not None:
            self._alarms.catches_up(news.catching_up)
        if news.lost_letters:
            self._alarms.letters_dropped(news.lost_letters)

    def _damaged(self, report: DamageReport) -> None:
        self._reader.forget()
        self._alarms.damaged(report)

    def _end(self, news: News) -> None:
        """The writer's thread has ended."""
        self._alarms.ended(counted=not news.uncounted)
        if news.failed is not None:
            error = SpoolError(self._alarms.writer_died(news.failed))
            _fail((*news.abandoned, *self._inbox.abandon()), error)
            self.failed.set_exception(error)
            self.failed.exception()  # no warning where nobody watches
        if not self._stopped.done():
            self._stopped.set_result(None)


def _fail(waiters: Iterable["asyncio.Future[None]"], error: SpoolError) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
