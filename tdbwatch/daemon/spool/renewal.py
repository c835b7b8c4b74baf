"""A new file in place of a damaged one, under the same numbers and with what is left of it.

The new file is made under another name, step by step. Once it is whole it says of itself that it replaces a
damaged one, and only then the two change places: whatever ends us in between, the next start either finds
the damaged one as it was or finishes the change, and tells of it.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import DamageReport, Entry
from tdbwatch.daemon.spool.damage import (
    damaged,
    move_aside,
    move_side_files,
    place_aside,
    remove_files,
    side,
    sync_folder,
)
from tdbwatch.daemon.spool.handle import Connect
from tdbwatch.daemon.spool.lock import keep_owner
from tdbwatch.daemon.spool.rescue import Rescue, rescuing
from tdbwatch.daemon.spool.store import Store

_MAKING: Final = ".renewing"
_WHOLE: Final = ".renewed"


@dataclass(frozen=True, slots=True)
class Known:
    """What memory holds of the file, and so need not be read from it.

    Attributes:
        floor: entries up to this one are finished for every sink.
        newest: the newest entries.
        connection: still open to the file, where that is not in its place any more.
    """

    floor: int
    last_seq: int
    cursors: Mapping[str, int] = field(default_factory=dict)
    newest: Sequence[Entry] = ()
    connection: sqlite3.Connection | None = None


def place(path: Path, connect: Connect) -> None:
    """See that there is a file at `path`: finish what was cut short, or begin a new spool.

    Raises:
        sqlite3.DatabaseError: there is one, but it is empty, which no spool ever was.
        OSError, sqlite3.Error: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making, whole = side(path, _MAKING), side(path, _WHOLE)
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


def _finish_moving(path: Path, whole: Path, connect: Connect) -> None:
    """A log that is left there, also of a file that somebody removed, must not be applied to the new one."""
    with closing(Store(whole, connect)) as store:
        report = store.damage
    if report is not None:
        move_side_files(path, report.moved_to)


def renew(
    path: Path, connect: Connect, error: sqlite3.Error, now: float, known: Known | None = None
) -> tuple[Store, DamageReport]:
    """Make a new file with what is still needed, and put it in the damaged one's place.

    Raises:
        sqlite3.Error, OSError: the folder or the disk cannot be written; nothing has changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making, whole, aside = side(path, _MAKING), side(path, _WHOLE), place_aside(path, now)
    with _opened(path, known) as old, _made(making, connect) as store:
        report = _fill(store, old, known, DamageReport(path, aside, str(error), 0), int(now * 1e6))
    keep_owner(making, like=path)
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
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return Store(path, connect)


def _fill(store: Store, old: Rescue, known: Known | None, report: DamageReport, now_us: int) -> DamageReport:
    cursors = dict(known.cursors) if known is not None else old.cursors()
    floor = known.floor if known is not None else min(cursors.values(), default=0)
    newest = [entry for entry in known.newest if entry.seq > floor] if known is not None else []
    last_seq = max(known.last_seq if known is not None else old.last_seq(), *cursors.values(), 0)
    entries = letters = 0
    for piece in _without(old.entries(floor), {entry.seq for entry in newest}):
        store.take_over(piece, ())
        entries, last_seq = entries + len(piece), max(last_seq, piece[-1].seq)
    store.take_over(newest, ())
    for dead in old.letters():
        store.take_over((), dead)
        letters, last_seq = letters + len(dead), max(last_seq, *(letter.entry.seq for letter in dead))
    report = replace(report, rescued=entries + len(newest), letters=letters)
    # A number beyond the last will be used anew: for an event that no sink is finished with.
    marks = [mark for mark in old.finished() if mark[0] <= last_seq]
    store.begin(cursors, marks, old.drops(), old.requests(), last_seq, report, now_us)
    return report


def _without(pieces: Iterator[list[Entry]], seqs: set[int]) -> Iterator[list[Entry]]:
    for piece in pieces:
        if kept := [entry for entry in piece if entry.seq not in seqs]:
            yield kept
