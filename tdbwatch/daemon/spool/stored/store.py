"""The spool's file as its one writer sees it: each method is one transaction, or reads only."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import Gone, Progress
from tdbwatch.daemon.spool.errors import NONSENSE, trusting_nothing
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.file.disk import Space
from tdbwatch.daemon.spool.file.handle import USUAL_LOG_BYTES, Connect, Handle
from tdbwatch.daemon.spool.group import Copies, Group
from tdbwatch.daemon.spool.spans import Span
from tdbwatch.daemon.spool.stored import beats, drops, marks, orders, progress, values
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, squeeze
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.history import (
    INSERT_ATTEMPT,
    INSERT_LETTER,
    attempt_row,
    letter_row,
)
from tdbwatch.daemon.spool.stored.log import INSERT_BLOCK, Row, blocks_where, extent, first_of, weight
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.tables import free_bytes, keep, prepare, transaction

_EMPTY_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


class GoneError(Exception):
    """A dead letter is not there any more."""


class Store:
    """The tables, and of them in memory what is asked for all the time.

    Attributes:
        first_seq: the oldest entry; `last_seq` + 1 when there is none.
        last_seq: the newest entry that there ever was.
        entries: how many there are.
        progress: by sink, what it has finished, as it is in the file.
        beat: the last sign of life.
        inserted: rows of history that it has inserted, by table.
        inserted_bytes: how many bytes it has inserted, in all tables, roughly.
        freed: by lane, between which numbers sinks that were behind got further: more may go than before.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path = path
        with trusting_nothing():  # SQLite's words about a spoilt file may not even be text
            self.handle = Handle(path, connect)
        try:
            with trusting_nothing():
                self._prepare()
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> sqlite3.Connection:
        return self.handle.connection

    def _prepare(self) -> None:
        self.space = Space(self.path)
        prepare(self.connection, self.path)
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
        # Entries that nobody has finished: damage took the progress, and twice is better than never.
        damage = self.damage
        lost = damage is not None and damage.progress_lost
        self.fresh = lost or not (self.last_seq and self.progress)

    def recount(self) -> None:
        """Look at what there is."""
        self.first_seq, self.last_seq, self.entries = extent(self.connection)

    def close(self) -> None:
        """Let go of the file. More than once does no harm."""
        self.handle.close()

    def reach(self, sinks: Collection[str] | None) -> Reach:
        """What all of these sinks have finished."""
        return Reach(self.progress, sinks)

    # -- writing -----------------------------------------------------------------------------------------

    def transaction(self) -> AbstractContextManager[None]:
        """All that is written within is, or nothing."""
        return transaction(self.connection)

    def part_from(self, sinks: Collection[str]) -> None:
        """Remember since when others than these are no sinks any more."""
        with self.transaction():
            progress.part_from(self.connection, sinks, self.last_seq)
            self.progress = progress.load(self.connection)

    def commit(self, group: Group) -> list[Block]:
        """Make the group durable, all or nothing (its copies apart); its events as blocks.

        Raises:
            sqlite3.Error: nothing of it was written.
        """
        rows = [packing.row() for packing in group.packings]
        attempts, letters = list(map(attempt_row, group.attempts)), list(map(letter_row, group.letters))
        remembered = group.all_marks
        size = weight(rows, -1) + weight(attempts, 3, 9) + weight(letters, 5, 6, 8, 9)
        others = values.weight(group.values) + sum([mark.size for mark in remembered])
        if size or others:
            self.space.check(size + others, self._reusable, finishing=not rows)
        with self.transaction():
            blocks = self._insert(rows, squeezed=group.pressed)
            if remembered:
                marks.save(self.connection, remembered)
            progress.save(self.connection, group.progress)
            values.save(self.connection, group.values)
            if letters:
                self.connection.executemany(INSERT_LETTER, letters)
            if attempts:
                self.connection.executemany(INSERT_ATTEMPT, attempts)
            if group.sinks is not None:
                progress.part_from(self.connection, group.sinks, self.last_seq + _count(blocks))
            drops.save(self.connection, group.drops.values())
            if group.settled:
                drops.settle(self.connection, group.settled)
            if group.damage_told:
                self.connection.execute("DELETE FROM meta WHERE key = 'damage'")
            if group.beat is not None:
                beats.save(self.connection, group.beat)
        self.beat = group.beat or self.beat
        self._grown(blocks, size)
        self.inserted["dead_letters"] += len(letters)
        self.inserted["attempts"] += len(attempts)
        self._progressed(group)
        return blocks

    def redeliver(self, copies: Copies, now_us: int) -> list[Block]:
        """Add copies to the log, and move their order on.

        Raises:
            GoneError: somebody has deleted one of the dead letters meanwhile; nothing was written.
            sqlite3.Error: nothing of it was written; SQLITE_FULL also where it would take what others need.
        """
        rows = copies.rows(now_us)
        size = weight(rows, -1)
        if rows:
            self.space.check(size, self._reusable, all_of_it=True)
        with self.transaction():
            blocks = self._insert(rows)
            self._end_letters(copies.letters)
            orders.move(self.connection, copies.order, copies.position)
            if gone := copies.gone:
                progress.forget(self.connection, gone)
                values.forget(self.connection, gone)
        if gone:
            self.progress.pop(gone, None)
        self._grown(blocks, size)
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
            drops.save(self.connection, [tally])
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
            return None if row is None else DamageReport.from_json(row[0], self.path)
        except NONSENSE:
            return None

    # -- inside ------------------------------------------------------------------------------------------

    def _insert(self, rows: Sequence[Row], *, squeezed: bool = False) -> list[Block]:
        ends = list(accumulate((row.entries for row in rows), initial=self.last_seq + 1))
        numbered = list(zip(ends, rows, strict=False))
        stored = [
            (first_seq, *(row._replace(body=squeeze(row.body)) if squeezed else row))
            for first_seq, row in numbered
        ]
        self.connection.executemany(INSERT_BLOCK, stored)
        return [row.block(first_seq) for first_seq, row in numbered]

    def _end_letters(self, numbers: Sequence[int]) -> None:
        query = "DELETE FROM dead_letters WHERE number = ?"
        if self.connection.executemany(query, [(number,) for number in numbers]).rowcount < len(numbers):
            raise GoneError

    def _progressed(self, group: Group) -> None:
        for lane, span in progress.apply(self.progress, group.progress):
            first, last = self.freed.get(lane, span)
            self.freed[lane] = (min(first, span[0]), max(last, span[1]))
        if group.sinks is not None:
            progress.part(self.progress, group.sinks, self.last_seq)

    def _grown(self, blocks: Sequence[Block], size: int) -> None:
        count = _count(blocks)
        self.entries += count
        self.last_seq += count
        self.inserted_bytes += size

    def _reusable(self) -> int:
        return free_bytes(self.connection)


def _count(blocks: Sequence[Block]) -> int:
    return sum([block.count for block in blocks])
