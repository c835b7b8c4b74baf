"""`tdbwatch spool export`: each event once, and never over a file."""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tdbwatch.daemon.spool.looking.log import Log
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.orders import Order, Selection
from tdbwatch.plugin import Event

from .kit import Run, objects


def test_export_writes_the_records_of_docs_and_never_over_a_file(
    run: Run, folder: Path, events: list[Event]
) -> None:
    code, out, _ = run("spool", "export")
    assert code == 0
    assert objects(out) == [event.record() for event in events]
    assert run("spool", "export", "--dead", "--output", "dead.jsonl")[0] == 0
    letters = objects((folder / "dead.jsonl").read_text())
    assert [letter["dead_letter"]["last_error"] for letter in letters] == ["504"] * 3
    code, _, err = run("spool", "export", "--output", "dead.jsonl")
    assert (code, err) == (73, "tdbwatch spool export: dead.jsonl is there already; name a new file\n")
    assert (folder / "dead.jsonl").stat().st_mode & 0o137 == 0, "not for everyone"


def test_an_export_has_each_event_once_though_it_was_put_into_the_log_again(
    run: Run, folder: Path, events: list[Event]
) -> None:
    asyncio.run(_copy(folder / "spool.db", [events[2], events[3], events[2]]))
    listed = objects(run("spool", "list", "--json")[1])
    assert [found["id"] for found in listed[10:]] == [events[n].id for n in (2, 3, 2)]
    assert objects(run("spool", "export")[1]) == [event.record() for event in events]
    due = ["export", "--sink", "oncall", "--event", "disk-*"]
    assert [found["id"] for found in objects(run("spool", *due)[1])] == [
        events[n].id for n in (3, 5, 7, 9)
    ], "the third is a copy of one that waits, too"
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM blocks WHERE first_seq <= 5")
    ids = [found["id"] for found in objects(run("spool", "export")[1])]
    assert ids == [events[n].id for n in (5, 6, 7, 8, 9, 2, 3)], "of what is gone the first copy is left"


async def _copy(path: Path, again: list[Event]) -> None:
    """Put these into the log again, as a requeue for oncall does."""
    spool = SqliteSpool(path)
    await spool.open()
    order = Order(1, "requeue", "oncall", Selection(), 0, 1)
    assert await spool.redeliver(order, heard(again), 1)
    await spool.close()


def test_what_comes_in_during_an_export_is_left_out_rather_than_written_twice(
    run: Run, folder: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(log: Log, last: int) -> frozenset[str]:
        found = seen(log, last)
        asyncio.run(_copy(folder / "spool.db", [events[2]]))
        return found

    seen = Log.copied
    monkeypatch.setattr(Log, "copied", copied)
    assert objects(run("spool", "export")[1]) == [event.record() for event in events]


@pytest.mark.parametrize("wrong", [("--since", "soon"), ("--sink", "nobody")])
def test_an_export_that_is_not_begun_leaves_no_file(run: Run, folder: Path, wrong: tuple[str, str]) -> None:
    assert run("spool", "export", "--output", "out.jsonl", *wrong)[0] == 64
    assert run("spool", "export", "--output", "out.jsonl", place=("--spool", "nowhere.db"))[0] == 66
    assert not (folder / "out.jsonl").exists()


def test_an_export_that_fails_leaves_no_file(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdbwatch.cli.spool.text.letter_json", _disk_is_full)
    code, _, err = run("spool", "export", "--dead", "--output", "out.jsonl")
    assert (code, err) == (73, "tdbwatch spool export: out.jsonl: No space left on device\n")
    assert not (folder / "out.jsonl").exists()


def _disk_is_full(_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
