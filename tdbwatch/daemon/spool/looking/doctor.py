"""Examining a spool, repairing what can be repaired, telling what was lost. Blocks: for the command line."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final, Literal

from tdbwatch.daemon.spool.api import SpoolError
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.file.place import MAGIC, check_place, set_aside
from tdbwatch.daemon.spool.looking.look import Look, faults, opened
from tdbwatch.daemon.spool.looking.stats import stats
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.daemon.spool.survival.renewal import renew
from tdbwatch.daemon.spool.survival.rescue import rescuing
from tdbwatch.daemon.words import counted
from tdbwatch.safe_files import look_at, open_itself

_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the doctor has to say.

    Attributes:
        level: `fine`; `note`: worth knowing; `damage`: the file cannot be trusted.
        text: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    level: Literal["fine", "note", "damage"]
    text: str
    remedy: str = ""


def examine(path: Path) -> list[Finding]:
    """What can be said of the spool and of damaged ones beside it. Changes nothing.

    Raises:
        SpoolError: there is no spool there, but perhaps another program's file.
    """
    return [*_file(path), *_set_aside(path)]


def damaged(findings: list[Finding]) -> bool:
    """Whether any of them is damage."""
    return any(finding.level == "damage" for finding in findings)


def repair(path: Path) -> DamageReport:
    """Move the damaged file aside, and begin a new one with all that can be read of it.

    Raises:
        SpoolError: a daemon uses it, it is no spool, or the folder cannot be written.
        sqlite3.Error, OSError: the disk does not take it; nothing has changed.
    """
    check_place(path)
    with suppress(sqlite3.DatabaseError), opened(path):  # which refuses another version's
        pass
    lock = SpoolLock(path)
    lock.acquire()
    try:
        error = sqlite3.DatabaseError("found damaged by the doctor")
        store, report = renew(path, connect, error, time.time(), None)
        store.close()
        return report
    finally:
        lock.release()


def _file(path: Path) -> Iterator[Finding]:
    try:
        with opened(path) as look:
            wrong = faults(look.connection, _FAULTS_SHOWN)
            contents = [] if wrong else list(_contents(look))
    except sqlite3.OperationalError as error:
        raise SpoolError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        wrong, contents = [str(error)], []
    if not wrong and _lost_its_beginning(path):
        wrong = ["the beginning of the file was overwritten; the log beside it still says what was there"]
    for fault in wrong:
        yield Finding("damage", fault)
    if not wrong:
        yield Finding("fine", "the file is sound")
    yield from contents


def _lost_its_beginning(path: Path) -> bool:
    """A daemon would not go on with such a file, though SQLite does as long as its log has the first page."""
    with open(path, "rb", opener=open_itself) as file:
        return file.read(len(MAGIC)) not in {MAGIC, b""}


def _contents(look: Look) -> Iterator[Finding]:
    found = stats(look)
    for sink in found.sinks:
        if sink.floor < found.first_seq - 1:
            missed = found.first_seq - 1 - sink.floor
            gone = counted(missed, "entry", "entries")
            text = f"{sink.sink}: {gone} that it had not got went with spool.max_size or spool.max_age"
            yield Finding("note", text)
        if sink.dead_letters:
            words = f"requeue --sink {quote(sink.sink)} --spool {quote(str(look.path))}"
            remedy = f"mend the sink, then: tdbwatch spool {words}"
            yield Finding("note", f"{sink.sink}: {counted(sink.dead_letters, 'dead letter')}", remedy)
    for order in found.orders:
        yield Finding("note", f"a {order.kind} for {order.sink} waits or is under way")
    if strange := orders.unknown(look.connection):
        text = f"{counted(strange, 'order')} that this version does not understand; a newer one left them"
        yield Finding("note", text, "run that version")
    for tally in found.drops:
        dropped = counted(tally.count, "undelivered event")
        text = f"{dropped} dropped ({tally.reason}), and no gap record tells so yet"
        yield Finding("note", text, "the daemon writes it when it runs")


def _set_aside(path: Path) -> Iterator[Finding]:
    """Damaged files that were moved away, and what they still hold."""
    for aside in set_aside(path):
        try:
            look_at(aside)
            with rescuing(aside) as found:
                entries = sum(block.count for block in found.blocks())
                letters = sum(1 for _ in found.letters())
        except (sqlite3.Error, OSError) as error:
            yield Finding("note", f"a damaged spool, {aside.name}, cannot be looked into now: {error}")
            continue
        held = f"{counted(entries, 'event')} and {counted(letters, 'dead letter')} can be read in it"
        some = entries or letters
        remedy = (
            f"look: tdbwatch spool list --spool {quote(str(aside))}; then delete it" if some else "delete it"
        )
        yield Finding("note", f"a damaged spool was set aside as {aside.name}; {held}", remedy)


def lost(path: Path, report: DamageReport) -> str:
    """What a repair could not save, in words."""
    with suppress(sqlite3.Error, SpoolError), opened(path) as look:
        found = stats(look)
        if found.count:
            holes = found.last_seq - found.first_seq + 1 - found.count
            which = "from the first that was saved to the last that was heard"
            return (
                f"up to {counted(holes, 'event')} {which} could not be read"
                if holes
                else f"none is missing {which}"
            )
    return "how many events were lost is not known" if not report.rescued else ""
