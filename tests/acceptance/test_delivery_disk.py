"""The disk at its worst, under the real command: full, damaged, read-only. Nothing acknowledged is lost."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.node import Cluster

Lines = Callable[[str], list[dict[str, Any]]]

POWERLESS = """
import ctypes
from tdbwatch.cli.spool import capabilities
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
_sets = capabilities._get()
_sets[0].effective &= ~(1 << CAP_DAC_OVERRIDE)
_sets[0].permitted &= ~(1 << CAP_DAC_OVERRIDE)
capabilities._call("capset", _sets)
"""


@pytest.fixture
def beforehand(request: pytest.FixtureRequest) -> str:
    """See `powerless`."""
    return POWERLESS if "powerless" in request.fixturenames else ""


@pytest.fixture
def powerless() -> None:
    """Commands obey the permissions of files, also when root runs the tests."""


@pytest.fixture
def state(tmp_path: Path) -> Any:
    """A folder for the spool that can be written again after the test."""
    folder = tmp_path / "state"
    folder.mkdir()
    yield folder
    folder.chmod(0o700)


def emit(cluster: Cluster, first: int, count: int) -> None:
    for number in range(first, first + count):
        cluster.emit("//stuff", "alerts", "counted", number)


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["args"][0] for record in records if record["kind"] == "event"]


def said(command: Any, event: str) -> dict[str, Any]:
    """The one log line of this name."""
    [line] = [record for record in command.records() if record["event"] == event]
    return dict(line)


def limit_files(pid: int, size: int) -> None:
    """No file of this process may grow beyond so many bytes: for it, the disk is full."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_a_full_disk_holds_events_in_memory_and_goes_on_when_there_is_space(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    emit(cluster, 0, 50)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 50, "the first events")
    limit_files(command.process.pid, 1)
    emit(cluster, 50, 300)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    emit(cluster, 350, 50)
    assert "make space" in said(command, "spool.disk_refuses")["remedy"]
    assert len(numbers(lines("alerts.jsonl"))) == 50, "what is not durable is not delivered"
    limit_files(command.process.pid, resource.RLIM_INFINITY)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 400, "all events")
    await until(lambda: command.said("spool.disk_accepts_again"), "the end of the alarm")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(400))


async def test_garbage_over_the_spool_of_a_running_daemon_loses_nothing_that_memory_holds(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way of the sink")
    command = await start("--config", write_config())
    await command.ready()
    emit(cluster, 0, 200)
    await until(lambda: "sink.failed" in command.text, "an attempt in vain")
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(os.urandom(1 << 17))
    await until(lambda: command.said("spool.damaged"), "the alarm")
    emit(cluster, 200, 100)
    (tmp_path / "out").unlink()
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 300, "all events")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(300))
    alarm = said(command, "spool.damaged")
    assert Path(alarm["moved_to"]).exists()
    assert alarm["rescued"] >= 200
    gaps = [record for record in lines("alerts.jsonl") if record["kind"] == "gap"]
    assert any(Path(alarm["moved_to"]).name in gap["reason"] for gap in gaps)


async def test_garbage_over_the_spool_of_a_stopped_daemon_is_moved_aside_with_a_gap_record(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, tmp_path: Path
) -> None:
    config = write_config()
    command = await start("--config", config)
    await command.ready()
    command.process.kill()
    await command.process.wait()
    (tmp_path / "spool.db").write_bytes(os.urandom(1 << 16))
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 0, 20)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 20, "all events")
    assert await command.stop() == 0
    alarm = said(command, "spool.damaged")
    assert "tdbwatch spool doctor" in alarm["remedy"]
    assert Path(alarm["moved_to"]).stat().st_size == 1 << 16
    assert any(record["kind"] == "gap" for record in lines("alerts.jsonl"))
    doctor = await start("spool", "doctor", "--config", config)
    assert await doctor.exit_code() == 0
    assert "the file is sound" in doctor.text
    assert "set aside as spool.db.damaged-" in doctor.text


@pytest.mark.usefixtures("powerless")
async def test_a_read_only_folder_is_refused_at_the_start_with_the_reason(
    start: Any, write_config: Any, state: Path
) -> None:
    state.chmod(0o500)
    command = await start("--config", write_config(spool={"path": str(state / "spool.db")}))
    assert await command.exit_code() == 73
    assert "the spool's folder cannot be used" in command.text
    assert "Permission denied" in command.text
    assert "Traceback" not in command.text


@pytest.mark.usefixtures("powerless")
async def test_a_folder_that_turns_read_only_stops_nothing_until_the_file_must_be_replaced(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, state: Path
) -> None:
    command = await start("--config", write_config(spool={"path": str(state / "spool.db")}))
    await command.ready()
    emit(cluster, 0, 50)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 50, "the first events")
    state.chmod(0o500)
    emit(cluster, 50, 50)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 100, "events as before")
    with (state / "spool.db").open("r+b") as file:
        file.write(os.urandom(1 << 16))
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    emit(cluster, 100, 50)
    state.chmod(0o700)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 150, "all events")
    assert await command.stop() == 0
    assert command.said("spool.damaged")
    assert numbers(lines("alerts.jsonl")) == list(range(150))


async def test_a_sink_whose_folder_is_read_only_gets_everything_once_it_can_write(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, tmp_path: Path, powerless: None
) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    config = write_config(sinks={
        "audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl"),
                  "retry": {"initial": "50ms", "max": "100ms"}},
    })  # fmt: skip
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 0, 50)
    await until(lambda: "Permission denied" in command.text, "the reason in the log")
    (tmp_path / "out").chmod(0o700)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 50, "all events")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(50))


@pytest.mark.usefixtures("powerless")
async def test_a_spool_in_a_read_only_folder_can_be_read_but_not_changed(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, state: Path
) -> None:
    config = write_config(spool={"path": str(state / "spool.db")})
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 0, 5)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 5, "the events")
    assert await command.stop() == 0
    state.chmod(0o500)
    (state / "spool.db").chmod(0o400)
    looking = await start("spool", "list", "--event", "counted", "--json", "--config", config)
    assert await looking.exit_code() == 0, looking.text
    assert numbers(looking.records()) == list(range(5))
    replaying = await start("replay", "--sink", "audit", "--config", config)
    assert await replaying.exit_code() == 73
    assert "cannot be written: attempt to write a readonly database; may the file" in replaying.text
