"""`tdbwatch spool doctor`: what it finds, mends, and keeps."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.plugin import Event

from .kit import CONFIG, Run, objects


def test_doctor_beside_a_daemon_leaves_the_repair_to_it(run: Run, folder: Path) -> None:
    lock = SpoolLock(folder / "spool.db")
    lock.acquire()
    with (folder / "spool.db").open("r+b") as file:
        file.write(os.urandom(4096))
    try:
        code, out, err = run("spool", "doctor")
    finally:
        lock.release()
    assert (code, out[:7]) == (65, "damage ")
    assert err == (
        f"tdbwatch spool doctor: process {os.getpid()} uses the spool, "
        "and repairs it by itself within seconds of coming upon the damage\n"
        "    look again then; only if it is still damaged, stop it (which makes a gap) and run this again\n"
    )


def test_doctor_says_one_dead_letter_in_the_singular(run: Run) -> None:
    assert run("spool", "drop", "--event", "disk-*", "--yes")[0] == 0
    assert run("spool", "drop", "--event", "deploy", "--yes")[0] == 0
    assert "note    oncall: 1 dead letter\n" in run("spool", "doctor")[1]


def test_doctor_says_when_all_is_fine(run: Run) -> None:
    code, out, _ = run("spool", "doctor")
    assert code == 0
    assert out.startswith("fine    the file is sound\nnote    oncall: 3 dead letters\n")
    assert "tdbwatch spool requeue --sink oncall" in out


async def _crash(source: Path, target: Path, events: list[Event]) -> None:
    """At `target` what a kill leaves: a file, and a log that has all of it."""
    spool = SqliteSpool(source)
    await spool.open()
    spool.append(heard(events))
    await spool.flush()
    for suffix in ("", "-wal"):
        Path(f"{target}{suffix}").write_bytes(Path(f"{source}{suffix}").read_bytes())
    await spool.close()


def test_doctor_sees_an_overwritten_file_also_when_its_log_still_has_all_of_it(
    run: Run, folder: Path
) -> None:
    events = [Event.create("alerts", "large", ["x" * 500]) for _ in range(200)]  # the log has every page
    (folder / "prod.yaml").write_text(CONFIG.replace("spool.db", "crashed.db"))
    asyncio.run(_crash(folder / "source.db", folder / "crashed.db", events))
    (folder / "crashed.db.lock").write_text("1\n")
    with (folder / "crashed.db").open("r+b") as file:
        file.write(os.urandom(4096))
    code, out, _ = run("spool", "doctor")
    assert code == 0
    assert "damage  the beginning of the file was overwritten" in out
    assert "; 200 undelivered events and 0 dead letters were saved; none is missing" in out
    assert run("spool", "doctor")[1].startswith("fine    the file is sound\n")
    assert len(objects(run("spool", "list", "--json", "--limit", "0")[1])) == 200


def test_doctor_repairs_what_can_be_read_and_keeps_the_damaged_file(
    run: Run, folder: Path, events: list[Event]
) -> None:
    path = folder / "spool.db"
    with sqlite3.connect(path) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))
    code, out, _ = run("spool", "doctor", "--dry-run")
    assert code == 65
    assert out.startswith("damage  ")
    code, out, _ = run("spool", "doctor")
    assert code == 0
    assert "7 undelivered events and 3 dead letters were saved" in out
    assert run("spool", "doctor")[1].startswith("fine    the file is sound")
    assert len(list(folder.glob("spool.db.damaged-*Z"))) == 1
    found = objects(run("spool", "list", "--json")[1])
    assert [record["id"] for record in found] == [event.id for event in events[3:]]
    assert len(objects(run("spool", "list", "--dead", "--json")[1])) == 3


@pytest.mark.parametrize(
    ("nonsense", "commands"),
    [
        ("UPDATE blocks SET body = x'91c0' WHERE first_seq = 7", ["list", "export", "show x"]),
        ("UPDATE blocks SET room = CAST(x'ff' AS TEXT) WHERE first_seq = 7", ["list", "export"]),
        (
            "UPDATE dead_letters SET run = x'c0'",
            ["list --dead", "requeue --all", "drop --all --yes", "show x"],
        ),
        ("UPDATE dead_letters SET dead_us = 1 << 62", ["list --dead", "export --dead"]),
        ("UPDATE progress SET floor = 'x'", ["stats", "list --sink oncall"]),
        ("UPDATE progress SET floor = 1 << 60", ["stats", "list --sink oncall"]),
        ("INSERT INTO behind VALUES ('gone', '', '', 1, x'90', x'90')", ["stats", "list --sink oncall"]),
        ("INSERT INTO drops VALUES ('r', '', '', 'x', 1, 2)", ["stats"]),
    ],
)
def test_a_row_that_makes_no_sense_is_damage_for_every_command_and_the_doctor_finds_and_mends_it(
    run: Run, folder: Path, events: list[Event], nonsense: str, commands: list[str]
) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute(nonsense)
    for command in commands:
        code, _, err = run("spool", *command.format(events[0].id).split())
        assert (code, "spool.db is damaged: " in err) == (65, True), command
    assert run("spool", "doctor", "--dry-run")[0] == 65
    assert run("spool", "doctor")[0] == 0
    assert run("spool", "doctor")[1].startswith("fine    the file is sound")
    found = {record["id"] for record in objects(run("spool", "list", "--json")[1])}
    lost = {events[6].id} if "blocks" in nonsense else set()
    assert {event.id for event in events[3:]} - lost <= found
