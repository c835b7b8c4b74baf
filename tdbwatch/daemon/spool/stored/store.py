"""The spool's file as its one writer sees it: each method is one transaction, or reads only."""

import asyncio
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import Gone, Progress
from tdbwatch.daemon.spool.errors import NONSENSE, trusting_nothing
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.file.disk import Space, free_bytes
from tdbwatch.daemon.spool.file.handle import USUAL_LOG_BYTES, Connect, Handle
from tdbwatch.daemon.spool.spans import Span
from tdbwatch.daemon.spool.stored import beats, drops, orders, progress
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane, encode_run, pack, squeeze
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.log import INSERT_BLOCK, Row, Window, blocks_where, extent, first_of, weight
from tdbwatch.daemon.spool.stored.notes import Note, Waiter, Write, execute, transaction
from tdbwatch.daemon.spool.stored.orders import Order, moved
from tdbwatch.daemon.spool.stored.progress import Reach, forgotten
from tdbwatch.daemon.spool.stored.tables import keep, prepare

_END_LETTER: Final = "DELETE FROM dead_letters WHERE number = ?"
_EMPTY_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


@dataclass(slots=True)
class Copies(Note):
    """Copies of events for one sink, and what of an order is done with them."""

    order: Order
    heard: Sequence[Heard]
    position: int
    letters: Sequence[int]
    done: "asyncio.Future[bool]"

    def rows(self, now_us: int) -> list[Row]:
        """Neighbours of one lane together. They grow old from now on."""
        rows: list[Row] = []
        for (scope, room), heard in groupby(self.heard, key=itemgetter(0)):
            runs = [run for _, run in heard]
            times = [run.received_us for run in runs]
            count, body = sum(len(run.events) for run in runs), pack(list(map(encode_run, runs)))
            rows.append(Row(count, scope, room, self.order.sink, min(times), max(times), now_us, body))
        return rows

    @property
    def waiters(self) -> Sequence[Waiter]:
        return (self.done,)

    def writes(self) -> Iterator[Write]:
        yield Write(_END_LETTER, [(number,) for number in self.letters], all_there=True)
        yield from moved(self.order, self.position)
        if self._gone is not None:
            yield from forgotten(self._gone)

    def written(self, store: "Store") -> None:
        if self._gone is not None:
            store.progress.pop(self._gone, None)

    @property
    def _gone(self) -> str | None:
        """A sink of which nothing is left with these."""
        order = self.order
        return order.selection.sink if order.kind == "move" and self.position >= order.through else None


class Store:
    """The tables, and of them in memory what is asked for all the time.

    Attributes:
        first_seq: the oldest entry; `last_seq` + 1 when there is none.
        last_seq: the newest entry that there ever was.
        entries: how many there are.
        progress: by sink, what it has finished, as it is in the file.
        sinks: those of the configuration; None: all that there are.
        newest: the newest blocks; none, unless somebody says how many.
        beat: the last sign of life.
        inserted: rows of history that it has inserted, by table.
        inserted_bytes: how many bytes it has inserted, in all tables, roughly.
        freed: by lane, between which numbers sinks that were behind got further: more may go than before.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self.sinks: Collection[str] | None = None
        self.newest = Window(0)
        with trusting_nothing():  # SQLite's words about a spoilt file may not even be text
            self.handle = Handle(path, connect)
        try:
            with trusting_nothing():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self.space = Space(self.handle.path)
        prepare(self.connection, self.handle.path)
        self.connection.execute(f"PRAGMA journal_size_limit = {USUAL_LOG_BYTES}")
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {self.space.checkpoint_pages}")
        # Some builds of SQLite overwrite all that is deleted: that would write it once more, to the log.
        self.connection.execute("PRAGMA secure_delete = FAST").fetchall()
        self.connection.execute("PRAGMA temp_store = MEMORY")  # the disk may be full
        self.progress: dict[str, Progress] = progress.load(self.connection)
        self.beat = beats.load(self.connection)
        self.freed: dict[Lane, Span] = {}
        self.inserted = {"dead_letters": 0, "attempts": 0}
        self.inserted_bytes = 0
        self.recount()
        self.unsettled()  # what makes no sense in it shows now
        self.handle.watch_log()

    @property
    def connection(self) -> sqlite3.Connection:
        return self.handle.connection

    @property
    def fresh(self) -> bool:
        """Whether no sink has begun with it: it is new, or damage took the progress; twice beats never."""
        damage = self.damage
        return not (self.last_seq and self.progress) or (damage is not None and damage.progress_lost)

    def recount(self) -> None:
        """Look at what there is."""
        self.first_seq, self.last_seq, self.entries = extent(self.connection)

    def close(self) -> None:
        """Let go of the file. More than once does no harm."""
        self.handle.close()

    def reach(self) -> Reach:
        """What all sinks have finished."""
        return Reach(self.progress, self.sinks)

    # -- writing -----------------------------------------------------------------------------------------

    def transaction(self) -> AbstractContextManager[None]:
        """All that is written within is, or nothing."""
        return transaction(self.connection)

    def commit(
        self,
        rows: Sequence[Row],
        notes: Collection[Note],
        *,
        squeezed: bool = False,
        can_wait: bool = False,
    ) -> list[Block]:
        """Make these durable, all or nothing; the rows as blocks.

        Args:
            squeezed: whether the rows take less space and more work.
            can_wait: whether none of the space is for them that is kept back.

        Raises:
            GoneError: a row that has to be there is not; nothing was written.
            sqlite3.Error: nothing was written; SQLITE_FULL also where it would take what others need.
        """
        writes = [write for note in notes for write in note.writes()]
        size = weight(rows, -1) + sum([write.size for write in writes])
        if size and (can_wait or time.monotonic() > self.space.roomy_until):
            reusable = partial(free_bytes, self.connection)
            self.space.check(size, reusable, finishing=not rows, all_of_it=can_wait)
        blocks: list[Block] = []
        if rows or writes:
            with self.transaction():
                blocks = self._insert(rows, squeezed=squeezed)
                execute(self.connection, writes)
        self.inserted_bytes += size
        for write in writes:
            if write.table:
                self.inserted[write.table] += len(write.rows)
        self.newest.extend(blocks)
        count = sum([block.count for block in blocks])
        self.entries, self.last_seq = self.entries + count, self.last_seq + count
        for note in notes:
            note.written(self)
        return blocks

    def delete(self, doomed: Sequence[Gone], tally: Tally) -> None:
        """Let these blocks go, and keep count of what nobody gets any more."""
        with self.transaction():
            if orders.replays(self.connection):
                orders.miss(self.connection, self.load(doomed))
            numbers = [(block.first_seq,) for block in doomed]
            self.connection.executemany("DELETE FROM blocks WHERE first_seq = ?", numbers)
            # Numbers are never used twice, also when no entry is left that shows the last one.
            keep(self.connection, "last_seq", self.last_seq)
            execute(self.connection, tally.writes())
        self.newest.forget(doomed)
        self.entries -= sum(block.count for block in doomed)
        self.first_seq = first_of(self.connection, self.last_seq)

    def empty_log(self, *, patient: bool = True) -> None:
        """Move what is in SQLite's log into the file.

        Args:
            patient: wait for those who read it.

        Raises:
            sqlite3.Error: the disk does not take it.
        """
        patience = self.connection.execute("PRAGMA busy_timeout").fetchone()[0]
        if not patient:
            self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute(_EMPTY_LOG).fetchall()
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {patience}")

    # -- reading -----------------------------------------------------------------------------------------

    def load(self, which: Iterable[Gone]) -> Iterator[Block]:
        """These blocks, one by one: all of them may be more than memory should hold."""
        for one in which:
            yield from blocks_where(self.connection, "first_seq = ?", (one.first_seq,))

    def unsettled(self) -> list[Tally]:
        """What was dropped before the start, and not yet told of."""
        return drops.unsettled(self.connection)

    @property
    def damage(self) -> DamageReport | None:
        """What happened to the file before this one, as long as no gap record tells of it."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone()
        try:
            return None if row is None else DamageReport.from_json(row[0], self.handle.path)
        except NONSENSE:
            return None

    # -- inside ------------------------------------------------------------------------------------------

    def _insert(self, rows: Sequence[Row], *, squeezed: bool = False) -> list[Block]:
        ends = accumulate((row.entries for row in rows), initial=self.last_seq + 1)
        blocks = [row.block(first_seq) for first_seq, row in zip(ends, rows, strict=False)]
        if squeezed:
            rows = [row._replace(body=squeeze(row.body)) for row in rows]
        stored = [(block.first_seq, *row) for block, row in zip(blocks, rows, strict=True)]
        self.connection.executemany(INSERT_BLOCK, stored)
        return blocks

    def free(self, lane: Lane, span: Span) -> None:
        """A sink that was behind with this lane got further, between these numbers."""
        first, last = self.freed.get(lane, span)
        self.freed[lane] = (min(first, span[0]), max(last, span[1]))
