"""A new file in place of a damaged one, under the same numbers and with what is left of it.

The new file is made under another name. Once it is whole it says of itself that it needs no log, which no
file says that is in use, and then the damaged one moves aside for it. So whatever ends us, the next start
either finds the damaged one as it was or finishes the change, and tells of it. Backups say the same of
themselves: whatever log lies beside a file that needs none belongs to the one that was there before.
"""

import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tdbwatch.daemon.spool.api import Progress
from tdbwatch.daemon.spool.errors import damaged
from tdbwatch.daemon.spool.file.aside import (
    DamageReport,
    move_aside,
    move_side_files,
    place_aside,
    remove_files,
)
from tdbwatch.daemon.spool.file.handle import Connect
from tdbwatch.daemon.spool.file.place import MAGIC, MAKING, side, sync
from tdbwatch.daemon.spool.stored import progress
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block
from tdbwatch.daemon.spool.stored.history import INSERT_LETTER, letter_row
from tdbwatch.daemon.spool.stored.log import INSERT_BLOCK, row_of
from tdbwatch.daemon.spool.stored.notes import execute
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import keep
from tdbwatch.daemon.spool.survival.rescue import Rescue, rescuing
from tdbwatch.descriptors import reserve
from tdbwatch.safe_files import open_file, open_itself

_PIECE_BYTES: Final = 4 << 20
_ROW_BYTES: Final = 1_000
_VERSION: Final = 18
_TAKEN_OVER: Final = ("meta", "orders", "marks", "sink_values", "drops")
_KINDS: Final = {"TEXT": str, "INTEGER": int, "BLOB": bytes, "": object}


def place(path: Path, connect: Connect) -> None:
    """See that there is a file at `path`: finish what was cut short, or begin a new spool.

    Raises:
        sqlite3.DatabaseError: there is one, but it is empty, which no spool ever was.
        OSError, sqlite3.Error: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making = side(path, MAKING)
    if not path.exists():
        if not _needs_no_log(making):
            with _made(making, connect):
                pass
        making.rename(path)
        sync(path.parent)
    remove_files(making)
    if _needs_no_log(path):
        move_side_files(path, place_aside(path, time.time()))
    if not path.stat().st_size:
        raise damaged("the file is empty")


def _needs_no_log(path: Path) -> bool:
    """Whether all is in the one file, and no daemon has opened it yet.

    See "file format write version" in https://www.sqlite.org/fileformat.html.
    """
    try:
        with open(path, "rb", opener=open_itself) as file:  # nobody has it open yet
            head = file.read(_VERSION + 1)
    except FileNotFoundError:
        return False
    return head.startswith(MAGIC) and head[_VERSION:] == b"\x01" and not side(path, "-journal").exists()


def renew(
    path: Path,
    connect: Connect,
    error: Exception,
    now: float,
    sinks: Collection[str] | None,
    memory: Store | None = None,
) -> tuple[Store, DamageReport]:
    """Make a new file with what is still needed, and put it in the damaged one's place.

    Args:
        sinks: those of the configuration; None: all that there are.
        memory: what is known of the file, and so need not be read from it. Closed, unless it alone can read
            the file, which is not in its place any more.

    Raises:
        sqlite3.Error, OSError: the folder or the disk cannot be written; nothing has changed.
    """
    reserve.lend()
    path.parent.mkdir(parents=True, exist_ok=True)
    making, aside = side(path, MAKING), place_aside(path, now)
    with _opened(path, memory) as old, _made(making, connect) as store:
        known, trusted = old.progress() if memory is None else (memory.progress, True)
        # Without progress the first sink begins with the first event.
        reach = Reach(known, sinks) if known and trusted else None
        rescued, letters = _fill(store, old, [] if memory is None else [*memory.newest], reach, now)
        report = DamageReport(aside, str(error), rescued, letters, not trusted)
        _make_whole(store, old, known, memory, report)
    move_aside(path, aside)
    making.rename(path)
    sync(path.parent)
    return Store(path, connect), report


@contextmanager
def _opened(path: Path, memory: Store | None) -> Iterator[Rescue]:
    if memory is not None and memory.handle.moved:
        yield Rescue(memory.connection)
        return
    if memory is not None:
        with suppress(sqlite3.Error):
            memory.close()
    with rescuing(path) as found:
        yield found


@contextmanager
def _made(path: Path, connect: Connect) -> Iterator[Store]:
    """An empty spool, to be filled. In the end it is whole, or there is none.

    Raises:
        sqlite3.Error, OSError: the disk does not take it; nothing of it is left to take up space.
    """
    remove_files(path)
    try:
        # Events may be confidential: the file is its owner's alone, and the side files follow it.
        os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        with closing(Store(path, connect)) as store:
            yield store
            store.connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        sync(path.parent)  # no power cut may take it, and not what happens to the old one
    except BaseException:
        remove_files(path)
        raise


def _fill(
    store: Store, old: Rescue, newest: Sequence[Block], reach: Reach | None, now: float
) -> tuple[int, int]:
    """Take over what some sink is still to get, and the dead letters; how many of both there are."""
    blocks = (block for block in _blocks(old, newest) if reach is None or not reach.finished(block))
    rows = ((block.first_seq, *row_of(block, int(now * 1e6))) for block in blocks)
    letters = (letter_row(letter, number) for number, letter in old.letters())
    for insert, source in ((INSERT_BLOCK, rows), (INSERT_LETTER, letters)):
        for piece in _gathered(source):
            with store.transaction():
                store.connection.executemany(insert, piece)
    store.recount()
    return store.entries, store.connection.execute("SELECT count(*) FROM dead_letters").fetchone()[0]


def _blocks(old: Rescue, newest: Sequence[Block]) -> Iterator[Block]:
    """All that there are: from where memory begins, what it holds is better than the file."""
    first, last = (newest[0].first_seq, newest[-1].last_seq) if newest else (MOST_SEQ, 0)
    yield from (block for block in old.blocks() if not first <= block.first_seq <= last)
    yield from newest


def _gathered(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The same in pieces, each for one transaction: all of them may be more than memory should hold."""
    piece, total = list[tuple[Any, ...]](), 0
    for row in rows:
        piece.append(row)
        total += _ROW_BYTES + sum(len(value) for value in row if isinstance(value, bytes))
        if total >= _PIECE_BYTES:
            yield piece
            piece, total = [], 0
    if piece:
        yield piece


def _make_whole(
    store: Store, old: Rescue, known: Mapping[str, Progress], memory: Store | None, report: DamageReport
) -> None:
    """The last step: all else, and that it replaces a damaged file."""
    connection = store.connection
    with store.transaction():
        for table in _TAKEN_OVER:
            kinds = [_KINDS[row[2]] for row in connection.execute(f"PRAGMA table_info({table})")]
            insert = f"INSERT OR REPLACE INTO {table} VALUES (?{', ?' * (len(kinds) - 1)})"  # noqa: S608
            connection.executemany(insert, old.rows(f"SELECT * FROM {table}", kinds))  # noqa: S608
        beats = [] if memory is None or memory.beat is None else [memory.beat]
        for note in (*progress.whole(known), *beats):
            execute(connection, note.writes())
        # A number beyond the last will be used anew: for an event that no sink is finished with.
        floors = (one.floor for one in known.values())
        keep(connection, "last_seq", max(old.last_seq, 0 if memory is None else memory.last_seq, *floors))
        keep(connection, "damage", report.to_json())
