"""The spool in one SQLite file: what the event loop sees of it."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.spool.alarms import Alarms, Listener
from tdbwatch.daemon.spool.api import Attempt, Behind, DeadLetter, Entry, Gone, Progress, SpoolError
from tdbwatch.daemon.spool.drop_reports import DropReports
from tdbwatch.daemon.spool.errors import DiskError, is_the_disks
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.file.handle import Connect
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.file.place import check_place, keep_private, side
from tdbwatch.daemon.spool.group import Copies
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.reader import Reader, Window
from tdbwatch.daemon.spool.state import LogState, Sinks
from tdbwatch.daemon.spool.stored import marks, orders, progress, values
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane
from tdbwatch.daemon.spool.stored.drops import DISK_REFUSED, TOO_FAST
from tdbwatch.daemon.spool.stored.history import letters_of
from tdbwatch.daemon.spool.stored.log import count_between
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.tables import connect as _connect
from tdbwatch.daemon.spool.survival.watch import FileWatch
from tdbwatch.daemon.spool.writer import Pace, Writer

_IDLE_LINGER: Final = 0.05
"""Seconds until progress and history are written where nothing else is."""


class SqliteSpool:
    """See `Spool` for the methods, docs/delivery.md for the promises.

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
        limits, pace = limits or Limits(), pace or Pace()
        self.last_beat: Beat | None = None
        self._sinks = Sinks(sinks)
        self._redelivery_bytes = limits.redelivery_bytes
        self._lock = SpoolLock(self.path)
        self._inbox = Inbox(limits, pace.linger, max(pace.linger, _IDLE_LINGER))
        window = Window(limits.window)
        self._files = FileWatch(self.path, self._lock, connect, window.snapshot, clock)
        self._reader = Reader(self.path, window, self._files.suspect)
        self.alarms = Alarms(self.path, listener, log)
        self.drops = DropReports(
            self.alarms, self._inbox.put_settled, pace.drops, lambda: self._writer.gap_records, clock
        )
        self._log = LogState(self._reader, self._inbox, self._files, self.alarms, self.drops)
        self._writer = Writer(self._files, self._inbox, limits, pace, sinks, clock, self._log.tell)

    async def open(self) -> None:
        """Open the file, or begin it; a damaged one is moved aside first.

        Raises:
            DiskError: the disk does not take it now.
            SpoolError: another process uses it, a newer version wrote it, or its place cannot be written.
        """
        self._log.begin(asyncio.get_running_loop())
        damage = await asyncio.to_thread(self._open)
        store = self._files.store
        self.last_beat = store.beat
        self._log.first_seq, self._log.last_seq = store.first_seq, store.last_seq
        self._log.entries = store.entries
        for sink, change in self._sinks.begin(store):
            self._inbox.put_progress(sink, change)
        for tally in store.unsettled():
            self.drops.add_of_before(tally)
        self._writer.start()
        if damage is not None:
            self._log.damaged(damage)

    def _open(self) -> DamageReport | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_place(self.path)
            self._lock.acquire()
            if mode := keep_private(self.path):
                self.alarms.tightened(mode)
            self._sinks.interrupted = side(self.path, "-wal").exists()  # who closes the file leaves none
            damage = self._files.open(self._sinks.names)
            if self._sinks.names is not None:
                with suppress(sqlite3.Error):  # the disk may be full, and this is for people only
                    self._files.store.part_from(self._sinks.names)
            return damage
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
    def interrupted(self) -> bool:
        """Whether whoever had this spool before ended without closing it: killed, or of a crash."""
        return self._sinks.interrupted

    def go_on(self) -> None:
        """What sinks do from now on is this process's: nothing of it was interrupted."""
        self._sinks.interrupted = False

    @property
    def last_seq(self) -> int:
        """The newest durable entry; 0 when there never was one."""
        return self._log.last_seq

    @property
    def first_seq(self) -> int:
        """The oldest entry that is still kept."""
        return self._log.first_seq

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

    # -- the way in --------------------------------------------------------------------------------------

    def append(self, heard: Sequence[Heard]) -> None:
        """Take these events, in order. Never blocks and never raises for trouble with the disk."""
        self.drops.traffic.came(sum([len(run.events) for _, run in heard]))
        for tally in self._inbox.put(heard, TOO_FAST if self.alarms.trouble is None else DISK_REFUSED):
            self.drops.add(tally)
            self._inbox.put_drops(tally)

    def remember(self, marks: Sequence[Mark]) -> None:
        """Keep what routes remember, durable with or after all that was appended before."""
        if marks:
            self._inbox.put_marks(marks)

    def beat(self, beat: Beat) -> None:
        """Keep this sign of life, durable with all that was appended before."""
        self._inbox.put_beat(beat)

    async def flush(self) -> None:
        """Return when all that was appended and saved so far is durable."""
        waiter: asyncio.Future[None] = self._waiter()
        self._inbox.put_waiter(waiter)
        await waiter

    async def unhurried(self) -> None:
        """Return when what waits for the disk leaves time for anything else."""
        while self._inbox.pressed and self.alarms.trouble is None and not self._log.closing:
            await self._log.turned.wait()

    def _waiter(self) -> "asyncio.Future[Any]":
        if self._log.closing:
            raise SpoolError("the spool is closed")
        if self.failed.done():
            raise SpoolError(self.alarms.trouble)
        return asyncio.get_running_loop().create_future()

    # -- the way out -------------------------------------------------------------------------------------

    async def wait_after(self, seq: int) -> None:
        """Return when `last_seq` is greater than `seq`."""
        while self._log.last_seq <= seq:
            await self._log.turned.wait()

    async def read(self, after: int, max_bytes: int) -> list[Block]:
        """Whole blocks, in order, of which the first has an entry after `after`; see `Spool.read`."""
        if after >= self.last_seq:
            return []
        return await self._reader.blocks(after, self.last_seq, max_bytes)

    async def read_lane(self, lane: Lane, after: int, through: int, max_bytes: int) -> list[Block]:
        """As `read`, but the blocks of one lane only, as far as they begin at `through` or before."""
        return await self._reader.lane(lane, after, through, max_bytes)

    async def count_lane(self, lane: Lane, after: int, through: int) -> int:
        """How many entries of one lane there are from `after` (not included) to `through` (included)."""
        return await self._reader.ask(lambda c: count_between(c, after + 1, through, lane))

    def watch(self, told: Callable[[Sequence[Gone]], None]) -> Callable[[], None]:
        """Have `told` called, in the event loop, with the blocks that the log gives up; see `Spool.watch`."""
        return self._reader.watch(told)

    # -- what sinks have finished ------------------------------------------------------------------------

    def progress(self, sink: str) -> Progress:
        """What `sink` has finished, as it was saved last; see `Spool.progress`."""
        if (begun := self._sinks.begun(sink)) is not None:
            self._inbox.put_progress(sink, begun)
        return self._sinks.progress(sink)

    def use_sinks(self, names: Collection[str], left: Mapping[str, Progress | None]) -> None:
        """From now on these are the sinks of the configuration; see `Spool.use_sinks`."""
        names = frozenset(names)
        for sink, change in self._sinks.change(names, left, self.last_seq):
            self._inbox.put_progress(sink, change)
        self._inbox.put_sinks(names)

    def keep_to(self, limits: Limits) -> None:
        """From now on these are the limits."""
        self._redelivery_bytes = limits.redelivery_bytes
        self._inbox.limits = limits

    async def left(self, sink: str) -> Progress | None:
        """What a sink had finished that is gone from the configuration; see `Spool.left`."""
        return await self._reader.ask(lambda c: progress.left(c, sink))

    def save(self, sink: str, floor: int, changed: Mapping[Lane, Behind | None]) -> None:
        """The progress of `sink`, durable with one of the next commits."""
        self._put(sink, Change(floor, dict(changed)))

    async def dead_letter(
        self,
        sink: str,
        floor: int,
        changed: Mapping[Lane, Behind | None],
        letters: Sequence[DeadLetter],
    ) -> None:
        """As `save`, and keep these letters: both with one commit, durable on return."""
        waiter: asyncio.Future[None] = self._waiter()
        self._put(sink, Change(floor, dict(changed), list(letters), [waiter]))
        await waiter

    def _put(self, sink: str, change: Change) -> None:
        self._sinks.changed(sink, change)
        self._inbox.put_progress(sink, change)

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Keep these for those who ask what became of an event."""
        self._inbox.put_attempts(attempts)

    async def values(self) -> dict[str, dict[str, bytes]]:
        """What sinks keep for themselves, as of the last commit, by sink and key."""
        return await self._reader.ask(values.load)

    def keep(self, sink: str, key: str, value: bytes | None) -> None:
        """Keep this for a sink; see `Spool.keep`."""
        self._inbox.put_value(sink, key, value)

    # -- delivering again --------------------------------------------------------------------------------

    async def marks(self) -> list[Mark]:
        """What routes that hold events back remember, as of the last commit."""
        return await self._reader.ask(marks.load)

    async def orders(self) -> list[Order]:
        """What people asked for and is not done."""
        return await self._reader.ask(orders.waiting)

    async def letters(self, order: Order, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        """The next dead letters of a requeue, each with its number; at least one, if there is any."""
        return await self._reader.ask(lambda c: letters_of(c, order, limit, max_bytes))

    @property
    def redelivery_bytes(self) -> int:
        """Bytes of events that should be redelivered in one step."""
        return self._redelivery_bytes

    async def redeliver(
        self, order: Order, heard: Sequence[Heard], position: int, letters: Sequence[int] = ()
    ) -> bool:
        """Put copies of these events at the end of the log; see `Spool.redeliver`."""
        done: asyncio.Future[bool] = self._waiter()
        self._inbox.put_copies(Copies(order, heard, position, letters, done))
        return await done
