"""A new file in place of a damaged one, under the same numbers and with what is left of it.

The new file is made under another name, step by step. Once it is whole it says of itself that it replaces a
damaged one, and only then the two change places: whatever ends us in between, the next start either finds
the damaged one as it was or finishes the change, and tells of it.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from tdbwatch.daemon.spool.api import Progress
from tdbwatch.daemon.spool.errors import damaged
from tdbwatch.daemon.spool.file.aside import (
    MAGIC,
    DamageReport,
    damage_text,
    move_aside,
    move_side_files,
    place_aside,
    remove_files,
    side,
    sync_folder,
)
from tdbwatch.daemon.spool.file.handle import Connect
from tdbwatch.daemon.spool.stored import beats, drops, marks, orders, progress, values
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block
from tdbwatch.daemon.spool.stored.history import INSERT_LETTER, letter_row
from tdbwatch.daemon.spool.stored.log import INSERT_BLOCK, row_of
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import keep
from tdbwatch.daemon.spool.stored.values import SinkValues
from tdbwatch.daemon.spool.survival.rescue import Rescue, rescuing
from tdbwatch.descriptors import reserve
from tdbwatch.safe_files import open_file

_ANYBODY: Final = ""
"""Stands for the sinks that nobody knows any more: all that there is may be for them."""
_PIECE_BYTES: Final = 4 << 20
_ROW_BYTES: Final = 1_000
_VERSION: Final = 18
_MAKING: Final = ".renewing"
_WHOLE: Final = ".renewed"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Known:
    """What memory holds of the file, and so need not be read from it.

    Attributes:
        reach: what every sink has finished.
        newest: the newest blocks.
        beat: the last sign of life.
        progress_lost: as in `DamageReport`.
        connection: still open to the file, where that is not in its place any more.
    """

    reach: Reach
    last_seq: int
    progress: Mapping[str, Progress]
    newest: Sequence[Block] = ()
    beat: Beat | None = None
    connection: sqlite3.Connection | None = None
    progress_lost: bool = False


def place(path: Path, connect: Connect) -> None:
    """See that there is a file at `path`: finish what was cut short, or begin a new spool.

    Raises:
        sqlite3.DatabaseError: there is one, but it is empty, which no spool ever was.
        OSError, sqlite3.Error: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making, whole = side(path, _MAKING), side(path, _WHOLE)
    if path.exists() and _is_backup(path):
        move_side_files(path, place_aside(path, time.time()))  # of the file that it was put in place of
    if not path.exists():
        if not whole.exists():
            move_side_files(path, place_aside(path, time.time()))  # of a file that somebody removed
            with _made(making, connect):
                pass
            making.rename(whole)
        else:
            _finish_moving(path, whole, connect)
        whole.rename(path)
        sync_folder(path)
    remove_files(making)
    remove_files(whole)
    if not path.stat().st_size:
        raise damaged("the file is empty")


def _is_backup(path: Path) -> bool:
    """Whether it is a copy that no daemon has opened: it says that it has no log, as no other spool does.

    See "file format write version" in https://www.sqlite.org/fileformat.html.
    """
    with path.open("rb") as file:  # nobody has it open yet
        head = file.read(_VERSION + 1)
    return head.startswith(MAGIC) and head[_VERSION:] == b"\x01"


def _finish_moving(path: Path, whole: Path, connect: Connect) -> None:
    """A log that is left there, also of a file that somebody removed, must not be applied to the new one."""
    with closing(Store(whole, connect)) as store:
        report = store.damage
    if report is not None:
        move_side_files(path, report.moved_to)


def renew(
    path: Path,
    connect: Connect,
    error: sqlite3.Error,
    now: float,
    sinks: Collection[str] | None,
    known: Known | None = None,
) -> tuple[Store, DamageReport]:
    """Make a new file with what is still needed, and put it in the damaged one's place.

    Args:
        sinks: those of the configuration; None: all that there are.

    Raises:
        sqlite3.Error, OSError: the folder or the disk cannot be written; nothing has changed.
    """
    reserve.lend()
    path.parent.mkdir(parents=True, exist_ok=True)
    making, whole, aside = side(path, _MAKING), side(path, _WHOLE), place_aside(path, now)
    with _opened(path, known) as old, _made(making, connect) as store:
        report = _fill(store, old, known or _read(old, sinks), DamageReport(path, aside, str(error), 0), now)
    making.rename(whole)
    move_aside(path, aside)
    whole.rename(path)
    sync_folder(path)
    return Store(path, connect), report


@contextmanager
def _opened(path: Path, known: Known | None) -> Iterator[Rescue]:
    if known is not None and known.connection is not None:
        yield Rescue(known.connection, known.last_seq)
    else:
        with rescuing(path, None if known is None else known.last_seq) as found:
            yield found


@contextmanager
def _made(path: Path, connect: Connect) -> Iterator[Store]:
    """An empty spool, to be filled. In the end all of it is in this one file, or there is none.

    Raises:
        sqlite3.Error, OSError: the disk does not take it; nothing of it is left to take up space.
    """
    remove_files(path)
    try:
        with closing(_new(path, connect)) as store:
            yield store
            store.empty_log()  # closing would do it, too, but not say that there was no space for it
    except BaseException:
        remove_files(path)
        raise


def _new(path: Path, connect: Connect) -> Store:
    """Events may be confidential: the file is its owner's alone, and the side files follow it."""
    os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    return Store(path, connect)


def _read(old: Rescue, sinks: Collection[str] | None) -> Known:
    """The same, from the file itself. Of a sink whose progress cannot be read nothing is finished."""
    progress = old.progress()
    floors = (one.floor for one in progress.values())
    known = old.trusted and progress  # where there is none, the first sink begins with the first event
    reach = Reach(progress, sinks) if known else Reach({_ANYBODY: Progress(0)}, None)
    last_seq = max(old.last_seq(), *floors, 0)
    return Known(reach, last_seq, progress, beat=old.beat(), progress_lost=not old.trusted)


def _fill(store: Store, old: Rescue, known: Known, report: DamageReport, now: float) -> DamageReport:
    last_seq, letters, now_us = known.last_seq, 0, int(now * 1e6)
    for piece in _gathered(_blocks(old, known.newest), lambda block: len(block.body)):
        needed = [block for block in piece if _needed(block, known.reach)]
        with store.transaction():
            rows = [(block.first_seq, *row_of(block, now_us)) for block in needed]
            store.connection.executemany(INSERT_BLOCK, rows)
        last_seq = max(last_seq, *(block.last_seq for block in piece))
    for dead in _gathered(old.letters(), lambda each: len(each[1].entry.event.payload)):
        with store.transaction():
            numbered = [letter_row(letter, number) for number, letter in dead]
            store.connection.executemany(INSERT_LETTER.replace("INSERT", "INSERT OR IGNORE"), numbered)
        letters, last_seq = letters + len(dead), max(last_seq, *(letter.entry.seq for _, letter in dead))
    store.recount()
    report = replace(report, rescued=store.entries, letters=letters, progress_lost=known.progress_lost)
    # A number beyond the last will be used anew: for an event that no sink is finished with.
    _make_whole(store, old, known, last_seq, report)
    return report


def _make_whole(store: Store, old: Rescue, known: Known, last_seq: int, report: DamageReport) -> None:
    """The last step: with it the file is whole, and says itself that it replaces a damaged one."""
    tallies, asked, remembered, connection = old.drops(), old.orders(), old.marks(), store.connection
    kept: dict[str, SinkValues] = {sink: dict(found) for sink, found in old.values().items()}
    with store.transaction():
        progress.save(connection, progress.whole(known.progress))
        progress.parted(connection, known.progress)
        drops.save(connection, tallies)
        orders.take_over(connection, asked)
        values.save(connection, kept)
        marks.save(connection, remembered)
        keep(connection, "last_seq", last_seq)
        if known.beat is not None:
            beats.save(connection, known.beat)
        keep(connection, "damage", damage_text(report))


def _gathered(items: Iterable[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    """The same in pieces, each for one transaction: all of them may be more than memory should hold."""
    piece, total = list[_T](), 0
    for item in items:
        piece.append(item)
        total += size(item) + _ROW_BYTES
        if total >= _PIECE_BYTES:
            yield piece
            piece, total = [], 0
    if piece:
        yield piece


def _needed(block: Block, reach: Reach) -> bool:
    """Whether some sink is still to get any of it."""
    return not reach.finished(block)


def _blocks(old: Rescue, newest: Sequence[Block]) -> Iterator[Block]:
    """All that there are: from where memory begins, what it holds is better than the file."""
    first, last = (newest[0].first_seq, newest[-1].last_seq) if newest else (MOST_SEQ, 0)
    for parts in old.blocks():
        yield from (block for block in parts if not first <= block.first_seq <= last)
    yield from newest
