"""Files and folders that belong to others, or that others link to: nothing goes there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdbwatch.plugin import DELIVERED, Retry
from tdbwatch.sinks.file import appender, guarded
from tdbwatch.sinks.file.appender import Appender

from .file_kit import Make, event


def test_a_second_process_cannot_write_to_the_file(tmp_path: Path) -> None:
    code = f"""
import sys
import threading
from tdbwatch.sinks.file.appender import Appender
file = Appender({str(tmp_path / "x")!r})
print("mine", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(BlockingIOError, match="another sink or process"):
            Appender(str(tmp_path / "x"))
        other.communicate()
    Appender(str(tmp_path / "x")).close()


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that tdbwatch lives on."""
    made = guarded.Guarded()
    monkeypatch.setattr(appender, "guarded", made)
    spool = tmp_path / "spool.db"
    for name in ("spool.db", "spool.db-wal", "spool.db.lock"):
        (tmp_path / name).write_bytes(b"ours")
    made.protect([spool])
    return spool


@pytest.mark.parametrize(
    "name",
    [
        "spool.db",
        "spool.db-wal",
        "spool.db-shm",
        "spool.db.lock",
        "link",
        "hard",
        "hard-wal",
        "f/../spool.db",
    ],
)
async def test_no_event_goes_into_a_file_that_tdbwatch_lives_on(
    tmp_path: Path, make: Make, ours: Path, name: str
) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "link").symlink_to("spool.db-wal")
    os.link(ours, tmp_path / "hard")
    os.link(tmp_path / "spool.db-wal", tmp_path / "hard-wal")
    before = sorted(tmp_path.iterdir())
    (outcome,) = await make(name).deliver([event()])
    assert isinstance(outcome, Retry)
    assert "tdbwatch itself lives on this file" in outcome.reason
    assert sorted(tmp_path.iterdir()) == before
    assert ours.read_bytes() == (tmp_path / "spool.db-wal").read_bytes() == b"ours"


async def test_files_beside_it_that_are_not_ours_are_written(tmp_path: Path, make: Make, ours: Path) -> None:
    for name in ("spool.jsonl", "spool.db.jsonl", "spool.db-audit.jsonl", "spool"):
        assert await make(name).deliver([event()]) == [DELIVERED]


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
async def test_in_a_folder_that_others_can_write_no_link_is_followed(
    tmp_path: Path, make: Make, link: str
) -> None:
    theirs, shared = tmp_path / "passwd", tmp_path / "shared"
    theirs.write_bytes(b"root:x:0:0\n")
    shared.mkdir()
    getattr(shared / "a.jsonl", link)(theirs)
    shared.chmod(0o777)
    sink = make("shared/a.jsonl")
    (outcome,) = await sink.deliver([event()])
    assert isinstance(outcome, Retry)
    assert "others can write its folder; remedy: chmod go-w the folder" in outcome.reason
    assert theirs.read_bytes() == b"root:x:0:0\n"
    shared.chmod(0o750)
    assert await sink.deliver([event()]) == [DELIVERED], "where nobody else can have put it, it is meant so"
    assert await make("shared/b.jsonl").deliver([event()]) == [DELIVERED]
    await sink.close()


async def test_a_folder_on_the_way_that_somebody_made_a_link_leads_nowhere(
    tmp_path: Path, make: Make
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/logs").symlink_to(tmp_path / "etc")
    (tmp_path / "theirs").chmod(0o777)
    (outcome,) = await make("theirs/logs/a.jsonl").deliver([event()])
    assert isinstance(outcome, Retry)
    assert f"{tmp_path}/theirs/logs is a link, in a folder that others can write" in outcome.reason
    assert list((tmp_path / "etc").iterdir()) == []
