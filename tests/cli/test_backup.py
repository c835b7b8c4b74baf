"""`tdbwatch spool backup`: a whole copy, or none."""

import asyncio
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.cli.app import main
from tdbwatch.daemon.spool.looking.backup import backup
from tdbwatch.daemon.spool.looking.look import faults, opened
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.plugin import Event

from .conftest import MakeSpool


@pytest.fixture
def folder(make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_spool([Event.create("alerts", "disk-full", [n, "x" * 1000]) for n in range(50)], dead=2)
    monkeypatch.chdir(folder)
    return folder


def copied(folder: Path) -> None:
    with opened(folder / "spool.db") as look:
        backup(look, folder / "copy.db")


def rows(path: Path) -> list[Any]:
    """All that is in all tables."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        return [(name, connection.execute(f"SELECT * FROM {name}").fetchall()) for name in sorted(names)]


def test_the_copy_is_whole_in_one_file_and_only_its_owners(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spool", "backup", "copy.db", "--config", "prod.yaml"]) == 0
    assert capsys.readouterr().out == "copy.db: 50 entries and 2 dead letters, whole and sound\n"
    assert rows(folder / "copy.db") == rows(folder / "spool.db")
    assert (folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in folder.glob("copy.db*")] == ["copy.db"]


@pytest.mark.parametrize("name", ["copy.db", "copy.db.part"])
def test_nothing_that_is_there_is_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / name).write_text("precious")
    assert main(["spool", "backup", "copy.db", "--config", "prod.yaml"]) == 73
    assert f"{name} is there already" in capsys.readouterr().err
    assert (folder / name).read_text() == "precious"


def test_no_link_is_followed(folder: Path) -> None:
    (folder / "copy.db").symlink_to("elsewhere")
    assert main(["spool", "backup", "copy.db", "--config", "prod.yaml"]) == 73
    assert not (folder / "elsewhere").exists()


async def test_what_a_daemon_commits_meanwhile_neither_waits_nor_spoils_the_copy(folder: Path) -> None:
    spool = SqliteSpool(folder / "spool.db", sinks=["audit"])
    await spool.open()
    copying = asyncio.create_task(asyncio.to_thread(copied, folder))
    while not copying.done():
        spool.append(heard([Event.create("alerts", "more", [0])]))
        await asyncio.wait_for(spool.flush(), 20)
    last = spool.last_seq
    await spool.close()
    with opened(folder / "copy.db") as look:
        numbers = [entry.seq for entry in look.log.some(Selection())]
        assert faults(look.connection, 5) == []
    assert numbers == list(range(1, len(numbers) + 1))
    assert 50 <= len(numbers) <= last


async def test_a_copy_put_in_place_of_a_spool_whose_log_was_left_there_is_not_spoilt_by_it(
    folder: Path, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    spool = SqliteSpool(folder / "spool.db", sinks=["audit"])
    await spool.open()
    await asyncio.to_thread(main, ["spool", "backup", "copy.db", "--config", "prod.yaml"])
    for number in range(60):
        spool.append(heard([Event.create("alerts", "later", [number, "x" * 2000])]))
        await spool.flush()
        if number == 30:  # the log begins anew: what is in it then does not fit the copy
            with closing(sqlite3.connect(folder / "spool.db")) as other:
                other.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    for file in folder.glob("spool.db-*"):  # as they are after a kill
        shutil.copy(file, crashed)
    await spool.close()
    shutil.copy(folder / "copy.db", crashed / "spool.db")
    assert (crashed / "spool.db-wal").stat().st_size > 0
    restored = SqliteSpool(crashed / "spool.db", sinks=["audit"])
    await restored.open()
    assert restored.last_seq == 50
    await restored.close()
    with opened(crashed / "spool.db") as look:
        assert faults(look.connection, 5) == []
        assert len(list(look.log.some(Selection()))) == 50


def test_of_a_damaged_spool_no_copy_is_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((folder / "spool.db").read_bytes())
    data[8192:] = b"\xff" * len(data[8192:])
    (folder / "spool.db").write_bytes(data)
    assert main(["spool", "backup", "copy.db", "--config", "prod.yaml"]) == 65
    assert "spool doctor" in capsys.readouterr().err
    assert not list(folder.glob("copy.db*"))


@contextmanager
def no_large_file() -> Iterator[None]:
    """As on a full disk; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_copy_for_which_there_is_no_space_is_not_left_in_part(folder: Path) -> None:
    with no_large_file(), pytest.raises((OSError, sqlite3.OperationalError)):
        copied(folder)
    assert not list(folder.glob("copy.db*"))


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("no/such/copy.db", "--config", "prod.yaml"), 73, "no/such/copy.db: No such file or directory"),
        (("copy.db", "--spool", "other.db"), 66, "there is no spool at other.db"),
    ],
)
def test_why_there_is_no_copy_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, said: str
) -> None:
    assert main(["spool", "backup", *args]) == code
    assert said in capsys.readouterr().err
    assert not list(folder.glob("copy.db*"))
