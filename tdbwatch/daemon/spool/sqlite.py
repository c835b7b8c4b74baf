"""The spool in one SQLite file: what the event loop sees of it."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.spool.alarms import Alarms, DropReports, Listener, Pacing
from tdbwatch.daemon.spool.api import Attempt, Behind, DeadLetter, Entry, Gone, Progress, Spool, SpoolError
from tdbwatch.daemon.spool.errors import DiskError, is_the_disks
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.file.handle import Connect
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.file.place import check_place, keep_private, side
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.reader import Reader
from tdbwatch.daemon.spool.state import LogState, Sinks, Traffic
from tdbwatch.daemon.spool.stored import marks, orders, progress
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane
from tdbwatch.daemon.spool.stored.drops import DISK_REFUSED, TOO_FAST, Settled
from tdbwatch.daemon.spool.stored.history import Attempts, letters_of
from tdbwatch.daemon.spool.stored.log import Window, count_between
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.daemon.spool.stored.notes import Flush, Waiter
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.store import Copies
from tdbwatch.daemon.spool.stored.tables import connect as _connect
from tdbwatch.daemon.spool.survival.watch import FileWatch
from tdbwatch.daemon.spool.writer import Pace, Writer

_IDLE_LINGER: Final = 0.05
"""Seconds until progress and history are written where nothing else is."""


class SqliteSpool(Spool):
    """See `Spool` for the methods without a word here, docs/delivery.md for the promises.

    Args:
        path: the file itself, no link to it (see `spool_file`); made if it does not exist, readable by its
            owner only.
        sinks: the names of those of the configuration: what they have not got counts as undelivered; others
            hold nothing back. None: all that ever were.
    """

    def __init__(
        self,
        path: Path | str,
        limits: Limits | None = None,
        *,
        sinks: Collection[str] | None = None,
        listener: Listener | None = None,
        clock: Clock = SYSTEM_CLOCK,
        pace: Pace | None = None,
        connect: Connect = _connect,
        log: Any = None,
    ) -> None:
        self.path = Path(path)
        self.last_beat: Beat | None = None
        self.interrupted = False
        limits, pace = limits or Limits(), pace or Pace()
        window = Window(limits.window)
        self._sinks = Sinks(sinks)
        self._lock = SpoolLock(self.path)
        self._inbox = Inbox(limits, pace.linger, max(pace.linger, _IDLE_LINGER))
        self._files = FileWatch(self.path, self._lock, connect, limits.window, clock)
        self._reader = Reader(self.path, window, self._files.suspect)
        self.alarms = Alarms(self.path, listener, log)
        traffic = Traffic(clock.monotonic)
        self.drops = DropReports(
            self.alarms,
            traffic.rates_in_words,
            lambda report: self._inbox.note(Settled([report])),
            Pacing(pace.drops),
            lambda: self._writer.gap_records,
            clock,
        )
        self._log = LogState(self._reader, self._inbox, traffic, self.alarms, self.drops)
        self._writer = Writer(self._files, self._inbox, limits, pace, clock, self._log)

    async def open(self) -> None:
        """Open the file, or begin it; a damaged one is moved aside first.

        Raises:
            DiskError: the disk does not take it now.
            SpoolError: another process uses it, a newer version wrote it, or its place cannot be written.
        """
        damage = await asyncio.to_thread(self._open)
        store = self._files.store
        self.last_beat = store.beat
        self._log.begin(store)
        for note in self._sinks.begin(store):
            self._inbox.note(note)
        for tally in store.unsettled():
            self.drops.add_of_before(tally)
        self._writer.start()
        if damage is not None:
            self._log.damaged(damage, store.first_seq, store.entries)

    def _open(self) -> DamageReport | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_place(self.path)
            self._lock.acquire()
            if mode := keep_private(self.path):
                self.alarms.tightened(mode)
            self.interrupted = side(self.path, "-wal").exists()  # who closes the file leaves none
            return self._files.open(self._sinks.names)
        except SpoolError:
            self._lock.release()
            raise
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            kind = DiskError if is_the_disks(error) else SpoolError
            raise kind(f"the spool {self.path} cannot be opened: {error}") from error

    async def close(self) -> None:
        """Make everything durable and let go of the file. More than once does no harm.

        Whoever waits no longer for a slow disk has the file let go of as soon as nothing is written any more.
        """
        if self._log.closing:
            return
        self._log.closing = True
        self.alarms.catching_up = False
        self.drops.report()
        self._log.stopped.add_done_callback(lambda _: self._lock.release())
        try:
            for _ in range(2):  # what the drops' listener has to say is appended in the next turn
                await asyncio.sleep(0)
        finally:
            self._inbox.close()
        await asyncio.shield(self._log.stopped)
        await self._reader.close()

    # -- how it is ---------------------------------------------------------------------------------------

    @property
    def failed(self) -> "asyncio.Future[None]":
        """Ends with an exception when the writer died of a mistake of ours; nothing is written any more."""
        return self._log.failed

    @property
    def entries(self) -> int:
        """How many entries the log holds, delivered or not."""
        return self._log.entries

    @property
    def held(self) -> int:
        """Events in memory that wait for a commit."""
        return self._inbox.held

    @property
    def turns(self) -> int:
        """How often the writer has come round; it does so each second, even with nothing to write."""
        return self._writer.turns

    @property
    def excused(self) -> bool:
        """Whether the writer may take its time: the disk refuses, or a damaged file is being replaced."""
        return self.alarms.trouble is not None or self._writer.renewing

    def keep_to(self, limits: Limits) -> None:
        """From now on these are the limits."""
        self._inbox.limits = limits

    # -- the way in --------------------------------------------------------------------------------------

    def append(self, heard: Sequence[Heard]) -> None:
        self._log.traffic.came(sum([len(run.events) for _, run in heard]))
        for tally in self._inbox.put(heard, TOO_FAST if self.alarms.trouble is None else DISK_REFUSED):
            self.drops.add(tally)
            self._inbox.note(tally)

    def remember(self, marks: Sequence[Mark]) -> None:
        if marks:
            self._inbox.remember(marks)

    def beat(self, beat: Beat) -> None:
        self._inbox.note(beat)

    async def flush(self) -> None:
        waiter = self._waiter()
        self._inbox.note(Flush([waiter]))
        await waiter

    async def unhurried(self) -> None:
        while self._inbox.pressed and self.alarms.trouble is None and not self._log.closing:
            await self._log.turned.wait()

    def _waiter(self) -> Waiter:
        if self._log.closing:
            raise SpoolError("the spool is closed")
        if self.failed.done():
            raise SpoolError(self.alarms.trouble)
        return asyncio.get_running_loop().create_future()

    # -- the way out -------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        return self._log.last_seq

    @property
    def first_seq(self) -> int:
        return self._log.first_seq

    async def wait_after(self, seq: int) -> None:
        while self._log.last_seq <= seq:
            await self._log.turned.wait()

    async def read(self, after: int, max_bytes: int) -> list[Block]:
        if after >= self.last_seq:
            return []
        return await self._reader.blocks(after, self.last_seq, max_bytes)

    async def read_lane(self, lane: Lane, after: int, through: int, max_bytes: int) -> list[Block]:
        return await self._reader.lane(lane, after, through, max_bytes)

    async def count_lane(self, lane: Lane, after: int, through: int) -> int:
        return await self._reader.ask(lambda c: count_between(c, after + 1, through, lane))

    def watch(self, told: Callable[[Sequence[Gone]], None]) -> Callable[[], None]:
        return self._reader.watch(told)

    # -- what sinks have finished ------------------------------------------------------------------------

    def progress(self, sink: str) -> Progress:
        for begun in self._sinks.begun(sink):
            self._inbox.note(begun)
        return self._sinks.progress(sink)

    def use_sinks(self, names: Collection[str], left: Mapping[str, Progress | None]) -> None:
        for note in self._sinks.use(frozenset(names), left, self.last_seq):
            self._inbox.note(note)

    async def left(self, sink: str) -> Progress | None:
        return await self._reader.ask(lambda c: progress.left(c, sink))

    def save(self, sink: str, floor: int, changed: Mapping[Lane, Behind | None]) -> None:
        self._inbox.note(self._sinks.change(Change(sink, floor, dict(changed))))

    async def dead_letter(
        self,
        sink: str,
        floor: int,
        changed: Mapping[Lane, Behind | None],
        letters: Sequence[DeadLetter],
    ) -> None:
        change = Change(sink, floor, dict(changed), list(letters), waiters=[waiter := self._waiter()])
        self._inbox.note(self._sinks.change(change))
        await waiter

    def note(self, attempts: Sequence[Attempt]) -> None:
        self._inbox.note(Attempts(list(attempts)))

    async def values(self) -> dict[str, dict[str, bytes]]:
        return await self._reader.ask(progress.values)

    def keep(self, sink: str, key: str, value: bytes | None) -> None:
        self._inbox.note(Change(sink, values={key: value}))

    # -- delivering again --------------------------------------------------------------------------------

    async def marks(self) -> list[Mark]:
        return await self._reader.ask(marks.load)

    async def orders(self) -> list[Order]:
        return await self._reader.ask(orders.waiting)

    async def letters(self, order: Order, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        return await self._reader.ask(lambda c: letters_of(c, order, limit, max_bytes))

    @property
    def redelivery_bytes(self) -> int:
        return self._inbox.limits.redelivery_bytes

    async def redeliver(
        self, order: Order, heard: Sequence[Heard], position: int, letters: Sequence[int] = ()
    ) -> bool:
        done: asyncio.Future[bool] = self._waiter()
        self._inbox.put_copies(Copies(order, heard, position, letters, done))
        return await done
