"""The spool's file, as the writer's thread sees it: plain blocking calls on the one writing connection."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool import copies, drops, marks, requests, times, wal
from tdbwatch.daemon.spool.api import DamageReport, DeadLetter, Entry, History
from tdbwatch.daemon.spool.attempts import AttemptBound
from tdbwatch.daemon.spool.attempts import weigh as weigh_attempts
from tdbwatch.daemon.spool.damage import NONSENSE, damage_of, damage_text, trusting_nothing
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.extent import count_missing, extent_of, first_of
from tdbwatch.daemon.spool.handle import Connect, Handle
from tdbwatch.daemon.spool.history import NO_HISTORY, history_of
from tdbwatch.daemon.spool.inbox import Group
from tdbwatch.daemon.spool.inquiry import Inquiry
from tdbwatch.daemon.spool.letters import LetterBound
from tdbwatch.daemon.spool.letters import weigh as weigh_letters
from tdbwatch.daemon.spool.pruning import (
    STEP,
    Limits,
    holds,
    older_than,
    oldest,
    room_for,
    size_of,
    undelivered,
)
from tdbwatch.daemon.spool.requests import Request
from tdbwatch.daemon.spool.rows import (
    INSERT_ATTEMPT,
    INSERT_LETTER,
    Streams,
    attempt_rows,
    insert_events,
    letter_rows,
)
from tdbwatch.daemon.spool.schema import free_bytes, prepare, used_bytes
from tdbwatch.daemon.spool.selection import teach_globs
from tdbwatch.daemon.spool.space import Space, full
from tdbwatch.daemon.spool.sweep import Sweeper
from tdbwatch.plugin.event import Event

_EMPTY_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
_MOST_STEPS: Final = 20
_AGED: Final = 1.0
"""Seconds that what is known of sinks may be old, where entries go for their age in any case."""
_COARSE: Final = 64
"""A part in so many goes beyond what must, so that not every commit has to make room."""
_FINE: Final = 1_024


class Store:
    """The tables, and the numbering of entries."""

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path = path
        self.room = 0
        """Gap records that push out nothing undelivered; as the last look found it."""
        self.more_to_prune = False
        """Whether the last step of `prune` was a whole one, so that another may be needed at once."""
        self.handle = Handle(path, connect)
        self._connection = self.handle.connection
        try:
            with trusting_nothing():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self.space = Space(self.path)
        prepare(self._connection, self.path)
        self._connection.execute(f"PRAGMA journal_size_limit = {wal.USUAL_BYTES}")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {self.space.checkpoint_pages}")
        # Some builds of SQLite overwrite all that is deleted: that would write it once more, to the log.
        self._connection.execute("PRAGMA secure_delete = FAST").fetchall()
        self._connection.execute("PRAGMA temp_store = MEMORY")  # the disk may be full
        teach_globs(self._connection)
        self._streams = Streams(self._connection)
        self._letters = LetterBound(self._connection)
        self._attempts = AttemptBound(self._connection)
        self._sweeper = Sweeper(self._connection)
        self.cursors: dict[str, int] = dict(self._connection.execute("SELECT sink, seq FROM cursors"))
        extent = extent_of(self._connection)
        self.first_seq, self.last_seq = extent.first, extent.last
        self.missing = extent.missing
        self.unsettled()  # what makes no sense in it shows now
        self.handle.watch_log()
        # Entries that nobody has a cursor for: damage took the cursors, and twice is better than never.
        self.fresh = not (self.last_seq and self.cursors)

    def close(self) -> None:
        """Let go of the file. More than once does no harm."""
        self.handle.close()

    def commit(self, group: Group) -> list[Entry]:
        """Make the group durable, all or nothing; its events as entries.

        Raises:
            sqlite3.Error: nothing of it was written.
        """
        attempts, letters_size = attempt_rows(group.attempts), weigh_letters(group.letters)
        if wanted := sum(group.weights) + letters_size + weigh_attempts(attempts):
            self.space.check(wanted, free_bytes(self._connection), finishing=not group.events)
        entries = list(map(Entry, count(self.last_seq + 1), group.events))
        with self.transaction():
            self._insert(entries)
            self._save_cursors(group.cursors)
            self._save_letters(group.letters)
            self._connection.executemany(INSERT_ATTEMPT, attempts)
            drops.save(self._connection, group.drops.values())
            if group.settled:
                drops.settle(self._connection, group.settled)
            if group.damage_told:
                self._connection.execute("DELETE FROM meta WHERE key = 'damage'")
        self._letters.added(len(group.letters), letters_size)
        self._attempts.added(attempts)
        self.last_seq += len(entries)
        self.cursors.update(group.cursors)
        return entries

    def requests(self) -> list[Request]:
        """What people ask to be delivered again."""
        return requests.waiting(self._connection)

    def serve(
        self, request: Request, wants: Callable[[Event], bool], limits: Limits, floor: int, now_us: int
    ) -> tuple[list[Entry], Request]:
        """One small step of a request: what it adds to the log, and what is left of it.

        Raises:
            sqlite3.Error: nothing of it was written; SQLITE_FULL also where it would take the room of others.
        """
        most_bytes = min(requests.STEP_BYTES, self.space.group_bytes, limits.max_size // _COARSE)
        with trusting_nothing(), self.transaction():
            events, rest = requests.step(self._connection, self._streams, request, wants, most_bytes)
            if events:
                self._check_room(size_of(events), limits, floor)
            entries = [Entry(seq, event, request.sink) for seq, event in enumerate(events, self.last_seq + 1)]
            times.note_copies(self._connection, self.last_seq, entries)
            if entries:
                copies.note(self._connection, entries[0].seq, now_us)
            self._insert(entries)
        self.last_seq += len(entries)
        if request.kind == "requeue":
            self._letters.doubt()
        return entries, rest

    def _check_room(self, size: int, limits: Limits, floor: int) -> None:
        """See whether copies of `size` bytes take no room but that of what is delivered.

        Raises:
            sqlite3.OperationalError: they do, or leave too little for what comes in.
        """
        self.space.check(size, free_bytes(self._connection), all_of_it=True)
        surplus = used_bytes(self._connection) + size + limits.headroom - limits.max_size
        delivered = floor - self.first_seq + 1 - self.missing
        if surplus > 0 and not holds(self._connection, self.first_seq, floor, delivered, surplus):
            raise full("the spool has no room for copies")

    def history(self, sink: str) -> History:
        """What was tried with the entries beyond the sink's cursor, as far as it can be read."""
        try:
            return history_of(self._connection, sink, self.cursors[sink], self.last_seq)
        except (sqlite3.DatabaseError, *NONSENSE):  # damage will show soon enough; it is history only
            return NO_HISTORY

    def unsettled(self) -> list[Tally]:
        """What was dropped before the start, and not yet told of."""
        return drops.unsettled(self._connection)

    @property
    def damage(self) -> DamageReport | None:
        """What happened to the file before this one, as long as no gap record tells of it."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone()
        try:
            return None if row is None else damage_of(row[0], self.path)
        except NONSENSE:
            return None

    def take_over(self, entries: Sequence[Entry], letters: Sequence[DeadLetter]) -> None:
        """Keep what was in a damaged file, under the old numbers."""
        with self.transaction():
            self._insert(entries)
            self._save_letters(letters)

    def begin(
        self,
        cursors: dict[str, int],
        finished: Sequence[marks.Mark],
        tallies: Sequence[Tally],
        asked: Sequence[Request],
        last_seq: int,
        damage: DamageReport,
        now_us: int,
    ) -> None:
        """The last step of taking over: with it the file is whole, and says itself that it replaces one.

        Copies begin to grow old anew: when they were made may be lost, and none may go for that.
        """
        with self.transaction():
            self._save_cursors(cursors)
            marks.save(self._connection, finished)
            drops.save(self._connection, tallies)
            requests.restore(self._connection, asked)
            self._keep("last_seq", last_seq)
            self._keep("missing", count_missing(self._connection, last_seq, damage.rescued))
            times.note_all(self._connection)
            copies.note(self._connection, 0, now_us)
            self._keep("damage", damage_text(damage))

    def full(self, limits: Limits) -> bool:
        """Whether the file holds more than it may."""
        return used_bytes(self._connection) > limits.max_size

    def empty_log(self) -> None:
        """Move what is in SQLite's log into the file.

        Raises:
            sqlite3.Error: the disk does not take it.
        """
        self._connection.execute(_EMPTY_LOG).fetchall()

    def relieve(self, floor: int, inquiry: Inquiry) -> None:
        """Find room within the file, and on the disk, for what it does not take. Only the delivered goes.

        Raises:
            sqlite3.Error: not even that can be written.
        """
        self.empty_log()
        for _ in range(_MOST_STEPS):
            missing = self.space.reserve - free_bytes(self._connection)
            through = min(floor, oldest(self._connection, self.first_seq, missing))
            if missing <= 0:
                return
            if through >= self.first_seq:
                self._forget(through, Tally("max_size"))
            elif not self.make_room(floor, self.last_seq, missing, inquiry):
                return
            self.empty_log()

    def prune(
        self,
        limits: Limits,
        floor: int,
        now_us: int,
        inquiry: Inquiry,
        *,
        sparing: bool = False,
    ) -> Tally | None:
        """One small step towards the limits; what it gave up undelivered, or None when it did nothing.

        Args:
            floor: entries up to this one are finished for every sink.
            now_us: microseconds since the Unix epoch.
            inquiry: what each sink has not finished.
            sparing: what goes may still be asked for: little more than must.
        """
        with trusting_nothing():
            return self._prune(limits, floor, now_us, inquiry, _FINE if sparing else _COARSE)

    def _prune(self, limits: Limits, floor: int, now_us: int, inquiry: Inquiry, parts: int) -> Tally | None:
        surplus = self.measure(limits, floor) - limits.max_size
        reason, reach, aim, within = "max_size", self.last_seq, surplus + limits.max_size // parts, 0.0
        through = oldest(self._connection, self.first_seq, aim) if surplus > 0 else 0
        if floor >= self.first_seq or limits.when_full == "drop_newest":
            through = min(through, floor)  # what is delivered goes first
        if through < self.first_seq:
            limit_us = now_us - int(limits.max_age * 1e6)
            reason, through = "max_age", older_than(self._connection, self.first_seq, limit_us)
            reach, aim, within = through, limits.max_size, _AGED
        if through < self.first_seq:
            return None
        if through > floor:
            if self.make_room(floor, reach, aim, inquiry):
                self.more_to_prune = True
                return Tally(reason)
            if not inquiry.answered(within):
                return None
        self.more_to_prune = through - self.first_seq + 1 >= STEP
        tally = undelivered(self._connection, reason, floor, through)
        self._forget(through, tally)
        return tally

    def measure(self, limits: Limits, floor: int) -> int:
        """Bytes of the file that hold something; keeps for how many gap records there is room."""
        used = used_bytes(self._connection)
        delivered = max(0, floor - self.first_seq + 1) / max(1, self.last_seq - self.first_seq + 1)
        self.room = room_for(limits, used, min(1, delivered))
        return used

    def _forget(self, through: int, tally: Tally) -> None:
        with self.transaction():
            requests.miss(self._connection, through)
            done = self._connection.execute("DELETE FROM events WHERE seq <= ?", (through,))
            attempts = self._connection.execute("DELETE FROM attempts WHERE last_seq <= ?", (through,))
            marks.forget(self._connection, through)
            copies.forget(self._connection, through)
            # Numbers are never used twice, also when no entry is left that shows the last one.
            self._keep("last_seq", self.last_seq)
            drops.save(self._connection, [tally])
            first_seq, missing = through + 1, 0
            if self.missing:  # else what is deleted needs no counting
                count = self.last_seq - self.first_seq + 1 - self.missing - done.rowcount
                first_seq = first_of(self._connection, self.last_seq)
                missing = self.last_seq - first_seq + 1 - count
                self._keep("missing", missing)
        self._attempts.gone(attempts.rowcount)
        self.first_seq, self.missing = first_seq, missing

    def make_room(self, floor: int, through: int, aim: int, inquiry: Inquiry) -> bool:
        """A step of deleting what every sink has beyond `floor`, up to `through`; False: there is none.

        Args:
            aim: bytes that are wanted.
        """
        for _ in range(_MOST_STEPS):
            if (deleted := self._sweep(floor, through, aim, inquiry)) is None:
                return False
            if deleted:
                inquiry.forget()
                break
        return True

    def _sweep(self, floor: int, through: int, aim: int, inquiry: Inquiry) -> int | None:
        start = max(floor, self.first_seq - 1)
        try:
            with trusting_nothing(), self.transaction():
                deleted = self._sweeper.step(start, through, aim, self._streams, inquiry.pending)
                if not deleted:
                    return deleted
                first_seq = first_of(self._connection, self.last_seq)
                missing = self.missing + deleted - (first_seq - self.first_seq)
                self._keep("last_seq", self.last_seq)
                self._keep("missing", missing)
        except BaseException:
            self._sweeper.begin_anew()
            raise
        self.first_seq, self.missing = first_seq, missing
        return deleted

    def trim_attempts(self, limits: Limits, floor: int) -> bool:
        """One small step towards what of the attempts may be kept; False: there was nothing to do."""
        with trusting_nothing():
            if not self._attempts.too_many(limits):
                return False
            with self.transaction():
                self._attempts.step(limits, floor, self.cursors)
        return True

    def trim_dead_letters(self, limits: Limits) -> int:
        """One small step towards what of the dead letters may be kept: how many of the oldest went."""
        with trusting_nothing():
            doomed = self._letters.oldest(limits) if self._letters.too_many(limits) else None
        if doomed is None:
            return 0
        with self.transaction():
            self._connection.execute("DELETE FROM dead_letters WHERE number <= ?", (doomed.number,))
        self._letters.gone(doomed, limits)
        return doomed.count

    def _insert(self, entries: Sequence[Entry]) -> None:
        insert_events(self._connection, entries, self._streams)

    def _save_cursors(self, cursors: dict[str, int]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", list(cursors.items()))

    def _save_letters(self, letters: Sequence[DeadLetter]) -> None:
        self._connection.executemany(INSERT_LETTER, letter_rows(letters, self._streams))

    def _keep(self, key: str, value: int | str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within is, or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._streams.settle(committed=False)
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._streams.settle(committed=True)
