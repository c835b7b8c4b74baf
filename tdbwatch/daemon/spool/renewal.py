"""A new file in place of a damaged one, under the same numbers and with what is left of it."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import DamageReport, Entry
from tdbwatch.daemon.spool.damage import Rescued, move_aside, move_files, remove_files, rescue
from tdbwatch.daemon.spool.lock import keep_owner
from tdbwatch.daemon.spool.store import Connect, Store

MOST_RESCUED: Final = 100_000
"""Entries that the daemon takes over; all of them are in memory for a moment."""


@dataclass(frozen=True, slots=True)
class Known:
    """What memory holds of the file, and so need not be read from it.

    Attributes:
        floor: entries up to this one are finished for every sink.
        newest: the newest entries.
    """

    floor: int
    last_seq: int
    cursors: Mapping[str, int] = field(default_factory=dict)
    newest: Sequence[Entry] = ()


def make_private(path: Path) -> None:
    """Events may be confidential: the file is its owner's alone. SQLite's side files follow it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def renew(
    path: Path,
    connect: Connect,
    error: sqlite3.Error,
    now: float,
    known: Known | None = None,
    limit: int = MOST_RESCUED,
) -> tuple[Store, DamageReport]:
    """Make a new file with what is still needed, and put it in the damaged one's place.

    The new one is whole before the old one moves, so whatever fails or ends us can be tried again.

    Raises:
        sqlite3.Error, OSError: the folder or the disk cannot be written; nothing has changed.
    """
    found = rescue(path, None if known is None else known.floor, limit)
    entries = {entry.seq: entry for entry in found.entries}
    if known is not None:
        entries.update((entry.seq, entry) for entry in known.newest if entry.seq > known.floor)
        found.cursors = dict(known.cursors)
    found.entries = [entries[seq] for seq in sorted(entries)]
    last_seq = max(known.last_seq if known is not None else 0, *entries, *found.cursors.values(), 0)
    _write(_unfinished(path), connect, found, last_seq)
    keep_owner(_unfinished(path), like=path)
    moved_to = move_aside(path, now)
    move_files(_unfinished(path), path)
    store = Store(path, connect)
    store.fresh = not last_seq
    return store, DamageReport(path, moved_to, str(error), len(found.entries), len(found.letters))


def finish(path: Path) -> None:
    """Finish a renewal that was cut short between its last two steps."""
    if not path.exists() and _unfinished(path).exists():
        move_files(_unfinished(path), path)


def _write(path: Path, connect: Connect, found: Rescued, last_seq: int) -> None:
    remove_files(path)
    make_private(path)
    with closing(Store(path, connect)) as store:
        if last_seq:
            store.restore(found, last_seq)


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".renewing")
