"""The spool in one SQLite file: what the event loop sees of it."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.spool.alarms import Alarms, Deaf, Listener
from tdbwatch.daemon.spool.api import Attempt, Behind, DeadLetter, Entry, Gone, Progress, SpoolError
from tdbwatch.daemon.spool.drop_reports import DropReports, Traffic
from tdbwatch.daemon.spool.errors import is_damage
from tdbwatch.daemon.spool.file.access import keep_private
from tdbwatch.daemon.spool.file.aside import DamageReport, refuse_foreign
from tdbwatch.daemon.spool.file.handle import Connect
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.file.place import check_place
from tdbwatch.daemon.spool.group import Copies, TurnReport
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.reader import Reader, Window
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane
from tdbwatch.daemon.spool.stored.drops import DISK_REFUSED, TOO_FAST, DropReport
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.stored.progress import Change, apply
from tdbwatch.daemon.spool.stored.tables import connect as _connect
from tdbwatch.daemon.spool.survival.watch import FileWatch
from tdbwatch.daemon.spool.writer import Pace, Writer

_IDLE_LINGER: Final = 0.05
"""Seconds until progress and history are written where nothing else is."""
_T = TypeVar("_T")


class LogState:
    """What the event loop knows of the log.

    Attributes:
        start: where a new sink begins.
        progress: as it was saved last.
        beat: the last one before the start.
        turned: set and cleared after each turn of the writer.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closing = False
        self.first_seq, self.last_seq, self.entries = 1, 0, 0
        self.start = 0
        self.progress: dict[str, Progress] = {}
        self.beat: Beat | None = None
        self.watchers: list[Callable[[Sequence[Gone]], None]] = []

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turned = asyncio.Event()
        self.failed: asyncio.Future[None] = loop.create_future()
        self.stopped: asyncio.Future[None] = loop.create_future()


def answer(waiters: Iterable["asyncio.Future[Any]"], result: Any) -> None:
    """End these waits."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(result)


def fail(waiters: Iterable["asyncio.Future[Any]"], error: SpoolError) -> None:
    """End these waits in vain."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


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
        self._sinks = sinks
        self._redelivery_bytes = limits.redelivery_bytes
        self._listener: Listener = listener or Deaf()
        self._lock = SpoolLock(self.path)
        self._window = Window(limits.window)
        self._inbox = Inbox(limits, pace.linger, max(pace.linger, _IDLE_LINGER))
        self._files = FileWatch(self.path, self._lock, connect, self._window.snapshot, clock)
        self._writer = Writer(self._files, self._inbox, limits, pace, sinks, clock, self._tell)
        self._reader = Reader(self.path)
        self._traffic = Traffic(clock.monotonic)
        self.alarms = Alarms(self.path, log)
        self.drops = DropReports(
            self._report_drop,
            self._inbox.put_settled,
            pace.drops,
            lambda: self._writer.gap_records,
            self.alarms,
            clock,
        )
        self._state = LogState()

    async def open(self) -> None:
        """Open the file, or begin it; a damaged one is moved aside first.

        Raises:
            SpoolError: another process uses it, a newer version wrote it, or its place cannot be written.
        """
        state = self._state
        state.begin(asyncio.get_running_loop())
        damage = await asyncio.to_thread(self._open)
        store = self._files.store
        state.start, state.beat = 0 if store.fresh else store.last_seq, store.beat
        state.first_seq, state.last_seq, state.entries = store.first_seq, store.last_seq, store.entries
        for sink in self._sinks or ():
            if sink not in store.progress:
                store.progress[sink] = Progress(state.start)
                self._inbox.put_progress(sink, Change(state.start))
        state.progress = {sink: replace(one, behind=dict(one.behind)) for sink, one in store.progress.items()}
        for tally in store.unsettled():
            self.drops.add_of_before(tally)
        self._writer.start()
        if damage is not None:
            self._damaged(damage)

    def _open(self) -> DamageReport | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_place(self.path)
            refuse_foreign(self.path)
            self._lock.acquire()
            if mode := keep_private(self.path):
                self.alarms.tightened(mode)
            damage = self._files.open(self._sinks)
            if self._sinks is not None:
                with suppress(sqlite3.Error):  # the disk may be full, and this is for people only
                    self._files.store.part_from(self._sinks)
            return damage
        except SpoolError:
            self._lock.release()
            raise
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise SpoolError(f"the spool {self.path} cannot be opened: {error}") from error

    async def close(self) -> None:
        """Make everything durable and let go of the file. More than once does no harm."""
        state = self._state
        if state.loop is None or state.closing:
            return
        state.closing = True
        self.drops.catching_up = False
        self.drops.report()
        for _ in range(2):  # what the drops' listener has to say is appended in the next turn
            await asyncio.sleep(0)
        self._inbox.close()
        await asyncio.shield(state.stopped)
        await self._reader.close()
        self._lock.release()

    # -- how it is ---------------------------------------------------------------------------------------

    @property
    def failed(self) -> "asyncio.Future[None]":
        """Ends with an exception when the writer died of a mistake of ours; nothing is written any more."""
        return self._state.failed

    @property
    def last_seq(self) -> int:
        """The newest durable entry; 0 when there never was one."""
        return self._state.last_seq

    @property
    def first_seq(self) -> int:
        """The oldest entry that is still kept."""
        return self._state.first_seq

    @property
    def entries(self) -> int:
        """How many entries the log holds, delivered or not."""
        return self._state.entries

    @property
    def last_beat(self) -> Beat | None:
        """The last sign of life of the daemon that had this spool before; None: there was none."""
        return self._state.beat

    @property
    def held(self) -> int:
        """Events in memory that wait for a commit."""
        return self._inbox.held

    # -- the way in --------------------------------------------------------------------------------------

    def append(self, heard: Sequence[Heard]) -> None:
        """Take these events, in order. Never blocks and never raises for trouble with the disk."""
        self._traffic.came(sum(len(run.events) for _, run in heard))
        for tally in self._inbox.put(heard, TOO_FAST if self.alarms.trouble is None else DISK_REFUSED):
            if tally.reason == TOO_FAST:
                self._traffic.lost()
            self.drops.add(tally)
            self._inbox.put_drops(tally)

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
        while self._inbox.pressed and self.alarms.trouble is None and not self._state.closing:
            await self._state.turned.wait()

    def _waiter(self) -> "asyncio.Future[Any]":
        if self._state.closing:
            raise SpoolError("the spool is closed")
        if self.failed.done():
            raise SpoolError(self.alarms.trouble)
        return asyncio.get_running_loop().create_future()

    # -- the way out -------------------------------------------------------------------------------------

    async def wait_after(self, seq: int) -> None:
        """Return when `last_seq` is greater than `seq`."""
        while self._state.last_seq <= seq:
            await self._state.turned.wait()

    async def read(self, after: int, max_bytes: int) -> list[Block]:
        """Whole blocks, in order, of which the first has an entry after `after`; see `Spool.read`."""
        if after >= self.last_seq:
            return []
        found = self._window.read(after, max_bytes)
        if found is not None:
            return found
        return await self._asked(self._reader.blocks(after, self.last_seq, max_bytes))

    async def read_lane(self, lane: Lane, after: int, through: int, max_bytes: int) -> list[Block]:
        """As `read`, but the blocks of one lane only, as far as they begin at `through` or before."""
        return await self._asked(self._reader.lane(lane, after, through, max_bytes))

    async def count_lane(self, lane: Lane, after: int, through: int) -> int:
        """How many entries of one lane there are from `after` (not included) to `through` (included)."""
        return await self._asked(self._reader.count(lane, after, through))

    def watch(self, told: Callable[[Sequence[Gone]], None]) -> None:
        """Have `told` called, in the event loop, with the blocks that the log gives up from now on."""
        self._state.watchers.append(told)

    async def _asked(self, question: Awaitable[_T]) -> _T:
        try:
            return await question
        except sqlite3.Error as error:
            if is_damage(error):
                self._files.suspect(error)
            raise SpoolError(f"the spool {self.path} cannot be read: {error}") from error

    # -- what sinks have finished ------------------------------------------------------------------------

    def progress(self, sink: str) -> Progress:
        """What `sink` has finished, as it was saved last; see `Spool.progress`."""
        known = self._state.progress
        if sink not in known:
            known[sink] = Progress(self._state.start)
            self.save(sink, self._state.start, {})
        return replace(known[sink], behind=dict(known[sink].behind))

    async def left(self, sink: str) -> Progress | None:
        """What a sink had finished that is gone from the configuration; see `Spool.left`."""
        return await self._asked(self._reader.left(sink))

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
        apply(self._state.progress, {sink: change})
        self._inbox.put_progress(sink, change)

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Keep these for those who ask what became of an event."""
        self._inbox.put_attempts(attempts)

    # -- delivering again --------------------------------------------------------------------------------

    async def orders(self) -> list[Order]:
        """What people asked for and is not done."""
        return await self._asked(self._reader.orders())

    async def letters(self, order: Order, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        """The next dead letters of a requeue, each with its number; at least one, if there is any."""
        return await self._asked(self._reader.letters(order, limit, max_bytes))

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

    # -- what the writer says ----------------------------------------------------------------------------

    def _tell(self, report: TurnReport) -> None:
        assert self._state.loop is not None
        try:
            self._state.loop.call_soon_threadsafe(self._turned, report)
        except RuntimeError:  # the loop is gone, and with it everyone who could want to know
            return

    def _turned(self, report: TurnReport) -> None:
        state = self._state
        self._alarm(report)
        if report.extent is not None:
            state.first_seq, state.entries = report.extent
        if report.blocks:
            self._grown(report.blocks)
        if report.gone:
            self._window.forget(report.gone)
            for told in state.watchers:
                told(report.gone)
        state.turned.set()
        state.turned.clear()
        answer(report.waiters, None)
        for copied, done in report.copied:
            answer((copied,), done)
        if report.ended:
            self._ended(report)
        else:
            fail(report.abandoned, SpoolError(f"the disk did not take it: {self.alarms.trouble}"))

    def _grown(self, blocks: Sequence[Block]) -> None:
        state = self._state
        self._window.extend(blocks)
        self._traffic.written(sum(block.count for block in blocks))
        state.last_seq = blocks[-1].last_seq
        self._files.heard(state.last_seq)

    def _alarm(self, report: TurnReport) -> None:
        if report.trouble is not None:
            self.alarms.disk(report.trouble)
        if report.refuses is not None:
            self.alarms.refuses(report.refuses)
        if report.log_bytes is not None:
            self.alarms.log_grows(report.log_bytes)
        if report.damage is not None:
            self._damaged(report.damage)
        if report.lost_letters:
            self.alarms.letters_dropped(report.lost_letters)
        if report.catching_up is not None:
            self.drops.catching_up = report.catching_up
        for tally in report.drops:
            self.drops.add(tally)
        self.drops.look()

    def _damaged(self, report: DamageReport) -> None:
        self._reader.forget()
        self.alarms.damaged(report)
        self._listener.damaged(report)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._inbox.put_damage_told)

    def _report_drop(self, report: DropReport) -> None:
        if report.reason == TOO_FAST and self._traffic.at_loss is not None:
            came, written = self._traffic.at_loss
            report = replace(report, note=f"{came:,} events a second came, {written:,} were written")
        self._listener.dropped(report)

    def _ended(self, report: TurnReport) -> None:
        """The writer's thread has ended."""
        self.drops.end(counted=not report.uncounted)
        state = self._state
        if report.failed is not None:
            error = SpoolError(self.alarms.writer_died(report.failed))
            fail((*report.abandoned, *self._inbox.abandon()), error)
            state.failed.set_exception(error)
            state.failed.exception()  # no warning where nobody watches
        if not state.stopped.done():
            state.stopped.set_result(None)
