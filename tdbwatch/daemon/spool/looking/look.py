"""Looking into a spool from another process, whether a daemon uses it or not; and leaving orders in it.

Each question is a statement of its own: a reader that stays in one transaction would keep SQLite from
recycling its log while the daemon goes on writing.
"""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from tdbwatch.daemon.spool.api import (
    Behind,
    DeadLetter,
    Entry,
    Order,
    OrderKind,
    Progress,
    SpoolError,
)
from tdbwatch.daemon.spool.looking.found import Figures, Letters, SinkState, Stats, Story
from tdbwatch.daemon.spool.stored import orders, progress
from tdbwatch.daemon.spool.stored.blocks import Block, Lane
from tdbwatch.daemon.spool.stored.drops import unsettled
from tdbwatch.daemon.spool.stored.history import attempts_at, letters_after
from tdbwatch.daemon.spool.stored.rows import blocks_where, entries_of
from tdbwatch.daemon.spool.stored.schema import check_kind, used_bytes
from tdbwatch.daemon.spool.stored.selection import Selection
from tdbwatch.daemon.spool.stored.store import extent
from tdbwatch.daemon.spool.survival.damage import side
from tdbwatch.daemon.spool.survival.foreign import refuse_foreign
from tdbwatch.plugin.event import Event

_PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes."""
_PAGE_BYTES: Final = 4 << 20
_PAGE_LETTERS: Final = 1_000
_NO_END: Final = 1 << 62
_NO_LANE_BEHIND: Final = Behind(0)
_ENDS: Final = (
    "SELECT min(first_us), max(last_us) FROM ("
    "SELECT * FROM (SELECT first_us, last_us FROM blocks WHERE target IS NULL ORDER BY first_seq LIMIT 100)"
    " UNION ALL SELECT * FROM"
    " (SELECT first_us, last_us FROM blocks WHERE target IS NULL ORDER BY first_seq DESC LIMIT 100))"
)
"""Between which times entries were received: clocks are set, so a few are looked at."""


class NoSpoolError(SpoolError):
    """There is no spool at this place."""


class Look:
    """What can be asked of a spool's file.

    Every method raises `sqlite3.Error` where it is damaged, or cannot be read or written.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    # -- numbers -----------------------------------------------------------------------------------------

    def figures(self) -> Figures:
        """Sizes, and the dead letters by sink."""
        rows = self._connection.execute(
            "SELECT sink, count(*), reason, max(number) FROM dead_letters GROUP BY sink"
        )  # with max(), SQLite takes the other columns from the row that has the maximum
        letters = {sink: Letters(count, reason) for sink, count, reason, _ in rows}
        return Figures(_size(self.path), used_bytes(self._connection), letters)

    def stats(self) -> Stats:
        """The spool in numbers."""
        first_seq, last_seq, count = extent(self._connection)
        oldest_us, newest_us = self._connection.execute(_ENDS).fetchone()
        known, letters = self.progress(), self.figures().letters
        sinks = (
            SinkState(
                sink,
                known[sink].floor if sink in known else last_seq,
                self._unfinished_count(sink, known[sink]) if sink in known else 0,
                letters[sink].count if sink in letters else 0,
            )
            for sink in sorted({*known, *letters})
        )
        drops = tuple(unsettled(self._connection))
        ends = (first_seq, last_seq, oldest_us, newest_us)
        return Stats(_size(self.path), count, *ends, tuple(sinks), tuple(self.orders()), drops)

    def progress(self) -> dict[str, Progress]:
        """By sink, what it has finished."""
        return progress.load(self._connection)

    def sinks(self) -> set[str]:
        """All sinks with progress or dead letters."""
        rows = self._connection.execute("SELECT sink FROM progress UNION SELECT sink FROM dead_letters")
        return {sink for (sink,) in rows}

    @property
    def last_seq(self) -> int:
        """The number of the log's last entry."""
        return extent(self._connection)[1]

    def _unfinished_count(self, sink: str, done: Progress) -> int:
        """Entries that the sink has not finished, copies for others apart."""
        terms = " AND (target IS NULL OR target = ?)"
        query = "SELECT ifnull(sum(count), 0) FROM blocks WHERE first_seq > ?" + terms  # noqa: S608
        total: int = self._connection.execute(query, (done.floor, sink)).fetchone()[0]
        across = blocks_where(
            self._connection,
            "first_seq <= ? AND first_seq + count - 1 > ?" + terms,
            (done.floor, done.floor, sink),
        )
        total += sum(block.last_seq - done.floor for block in across)
        for lane, behind in done.behind.items():
            query = "SELECT ifnull(sum(min(first_seq + count, ?) - max(first_seq, ?)), 0) FROM blocks"
            query += " WHERE scope = ? AND room = ? AND first_seq + count > ? AND first_seq <= ?" + terms
            bounds = (done.floor + 1, behind.first_seq)
            values = (*bounds, *lane, behind.first_seq, done.floor, sink)
            total += self._connection.execute(query, values).fetchone()[0] - len(behind.beyond)
        return total

    # -- what is in the log ------------------------------------------------------------------------------

    def entries(self, selection: Selection, *, last: int = -1) -> Iterator[Entry]:
        """The entries of the log, in order.

        Args:
            last: only so many, the newest; -1: all.
        """
        return self._some(lambda entry: selection.matches(entry.event), selection, last)

    def unfinished(
        self,
        selection: Selection,
        sink: str,
        wants: Callable[[Event], bool] | None = None,
        *,
        last: int = -1,
    ) -> Iterator[Entry]:
        """The entries that this sink is still to get, in order.

        Args:
            wants: whether the routes send an event to it; None: they are not known.
            last: only so many, the newest; -1: all.
        """
        done = self.progress().get(sink, Progress(0))

        def is_for_it(entry: Entry) -> bool:
            event = entry.event
            if entry.target not in {None, sink} or done.finished(entry.seq, Lane(event.scope, event.room)):
                return False
            routed = wants is None or entry.target is not None or wants(event)
            return routed and selection.matches(event)

        return self._some(is_for_it, selection, last)

    def copied(self, through: int) -> frozenset[str]:
        """The ids of events that were put into the log again, up to this entry."""
        blocks = self._blocks(0, " AND target IS NOT NULL")
        entries = (entry for block in blocks for entry in entries_of(block))
        return frozenset(entry.event.id for entry in entries if entry.seq <= through)

    def _some(self, keep: Callable[[Entry], bool], selection: Selection, last: int) -> Iterator[Entry]:
        since = selection.since_us
        terms = "" if since is None else f" AND last_us >= {since}"
        after = 0 if last < 0 else self._start_of(keep, terms, last)
        for block in self._blocks(after, terms):
            yield from (entry for entry in entries_of(block) if entry.seq > after and keep(entry))

    def _start_of(self, keep: Callable[[Entry], bool], terms: str, last: int) -> int:
        """Behind which entry so many of the newest begin."""
        before = _NO_END
        while last > 0:
            page = self._page(f"first_seq < ?{terms} ORDER BY first_seq DESC", before)
            if not page:
                return 0
            for block in page:
                found = [entry.seq for entry in entries_of(block) if keep(entry)]
                if len(found) >= last:
                    return found[-last] - 1
                last -= len(found)
            before = page[-1].first_seq
        return before

    def _blocks(self, after: int, terms: str = "") -> Iterator[Block]:
        """All blocks with entries after this one, a page at a time."""
        after_block = 0
        while page := self._page(
            f"first_seq > ? AND first_seq + count - 1 > {after}{terms} ORDER BY first_seq", after_block
        ):
            yield from page
            after_block = page[-1].first_seq

    def _page(self, terms: str, value: int) -> list[Block]:
        return blocks_where(self._connection, terms, (value,), _PAGE_BYTES)

    # -- single events -----------------------------------------------------------------------------------

    def ids_like(self, beginning: str, *, dead_only: bool = False) -> list[str]:
        """The ids of events that begin so, two at most."""
        found: set[str] = set()
        for event_id in self._ids_like(beginning, dead_only):
            found.add(event_id)
            if len(found) > 1:
                break
        return sorted(found)

    def _ids_like(self, beginning: str, dead_only: bool) -> Iterator[str]:
        yield from (
            letter.entry.event.id
            for letter in self.letters(Selection())
            if letter.entry.event.id.startswith(beginning)
        )
        if dead_only:
            return
        plain = beginning.replace("-", "")
        for block in self._blocks(0):
            for run in block.runs:
                if run.id.hex()[:12].startswith(plain[:12]):  # the rest differs within a run
                    yield from (e.id for e in run.unpacked(block.lane) if e.id.startswith(beginning))

    def story(self, event_id: str) -> Story:
        """All that is known of an event."""
        selection = Selection(ids=(event_id,))
        found = tuple(self.entries(selection))
        dead = tuple(self.letters(selection))
        seqs = {entry.seq for entry in found} | {letter.entry.seq for letter in dead}
        attempts = [attempt for seq in sorted(seqs) for attempt in attempts_at(self._connection, seq)]
        attempts.sort(key=lambda attempt: attempt.started_us)
        return Story(found, dead, tuple(attempts), self.progress())

    # -- dead letters and orders -------------------------------------------------------------------------

    def letters(self, selection: Selection, *, last: int = -1) -> Iterator[DeadLetter]:
        """The dead letters, in the order in which they became so.

        Args:
            last: only so many, the newest; -1: all.
        """
        found = (letter for _, letter in self._letters(selection))
        if last < 0:
            yield from found
            return
        numbers = [number for number, _ in self._letters(selection)][-last:] if last else []
        if numbers:
            yield from (letter for _, letter in self._letters(selection, numbers[0] - 1))

    def _letters(self, selection: Selection, after: int = 0) -> Iterator[tuple[int, DeadLetter]]:
        through = self._last_letter()
        while after < through:
            end = min(after + _PAGE_LETTERS, through)
            page = list(letters_after(self._connection, after, end, selection.sink))
            yield from (each for each in page if selection.matches(each[1].entry.event))
            after = end

    def _last_letter(self) -> int:
        last: int = self._connection.execute("SELECT ifnull(max(number), 0) FROM dead_letters").fetchone()[0]
        return last

    def orders(self) -> list[Order]:
        """What people asked for and is not done."""
        return orders.waiting(self._connection)

    def order(self, kind: OrderKind, sink: str, selection: Selection) -> int:
        """Leave an order; how many records or dead letters it is about. Safe beside a running daemon."""
        if kind == "requeue":
            numbers = [number for number, letter in self._letters(selection) if letter.sink == sink]
        else:
            entries = self.entries(selection)
            numbers = [entry.seq for entry in entries if entry.target is None]
        if numbers:
            now_us = time.time_ns() // 1000
            orders.insert(self._connection, kind, sink, selection, numbers[-1], now_us)
        return len(numbers)

    def discard(self, selection: Selection) -> int:
        """Delete dead letters; how many. Safe beside a running daemon, whose commits go in between."""
        deleted, doomed = 0, [number for number, _ in self._letters(selection)]
        for start in range(0, len(doomed), _PAGE_LETTERS):
            page = [(number,) for number in doomed[start : start + _PAGE_LETTERS]]
            query = "DELETE FROM dead_letters WHERE number = ?"
            deleted += self._connection.executemany(query, page).rowcount
        return deleted

    def sinks_with_letters(self, selection: Selection) -> list[str]:
        """The sinks that have dead letters of this selection."""
        return sorted({letter.sink for letter in self.letters(selection)})

    # -- for the doctor ----------------------------------------------------------------------------------

    def faults(self, most: int) -> list[str]:
        """What SQLite finds wrong with the file, and blocks that do not decode."""
        found = [row[0] for row in self._connection.execute(f"PRAGMA integrity_check({most})")]
        faults = [] if found == ["ok"] else found
        for block in self._blocks(0):
            try:
                block.runs  # noqa: B018 - looking is enough
            except ValueError as error:
                faults.append(str(error))
                if len(faults) >= most:
                    break
        return faults

    def strange_orders(self) -> int:
        """Orders that this version does not understand."""
        return orders.unknown(self._connection)


@contextmanager
def opened(path: Path, mode: Literal["ro", "rw"] = "ro") -> Iterator[Look]:
    """A look into the spool at `path`, which is never made.

    Raises:
        NoSpoolError: there is none.
        SpoolError: it is no spool, or one of another version.
        PermissionError: it, or its folder, may not be read.
        sqlite3.Error: it is damaged, or cannot be read or written.
    """
    if not path.is_file():
        raise NoSpoolError(f"there is no spool at {path}")
    if not os.access(path, os.R_OK, effective_ids=True):  # SQLite would say that it cannot open it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    refuse_foreign(path)
    with closing(_connect(path, mode)) as connection:
        check_kind(connection, path)
        yield Look(connection, path)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    place = f"file:{quote(str(path.absolute()))}"
    connection = sqlite3.connect(f"{place}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        connection.close()
        if mode != "ro" or side(path, "-wal").exists():
            raise
        # Nobody has it open, and the folder cannot be written: SQLite wants to be told that it is safe.
        return sqlite3.connect(f"{place}?immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _size(path: Path) -> int:
    """Bytes on disk, side files included."""
    files: Collection[Path] = (path, side(path, "-wal"), side(path, "-shm"))
    return sum(file.stat().st_size for file in files if file.exists())
