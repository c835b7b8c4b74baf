"""File systems of their own under the real command: small ones that fill up, one that turns read-only.

They are mounted in a mount namespace of their own, which takes root: `sudo make test`, or a container with
CAP_SYS_ADMIN. The machine's own mounts never change.
"""

import asyncio
import json
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tdbwatch.node import Cluster

Lines = Callable[[str], list[dict[str, Any]]]
_HOLD = "mount -t tmpfs none {probe} && echo ready && exec sleep 600"
_ENTER = """
import ctypes, os
with open("/proc/{pid}/ns/mnt") as _namespace:
    if ctypes.CDLL(None, use_errno=True).setns(_namespace.fileno(), 0):
        raise OSError(ctypes.get_errno(), "the mount namespace cannot be entered")
os.chdir({folder!r})
"""


@dataclass
class Mounts:
    """A mount namespace, kept by a process of its own. Commands started from now on run in it."""

    pid: int
    folder: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", "-t", str(self.pid), "-m", *map(str, command)]
        return subprocess.run(inside, capture_output=True, text=True, check=False)

    def do(self, *command: str | Path) -> None:
        done = self.run(*command)
        assert done.returncode == 0, done.stderr

    def tmpfs(self, size: str) -> Path:
        self.do("mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.folder)
        return self.folder

    @property
    def outside(self) -> Path:
        """The folder, as this process can reach it."""
        return Path(f"/proc/{self.pid}/root{self.folder}")

    def fill(self) -> None:
        """Take every byte that is left."""
        with (self.outside / "other").open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        (self.outside / "other").unlink()


@pytest.fixture
def beforehand(mounts: Mounts, tmp_path: Path) -> str:
    """Commands are in the namespace."""
    return _ENTER.format(pid=mounts.pid, folder=str(tmp_path))


@pytest.fixture
async def mounts(tmp_path: Path) -> AsyncIterator[Mounts]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("needs unshare and nsenter (util-linux)")
    holder = await asyncio.create_subprocess_exec(
        "unshare", "-m", "sh", "-c", _HOLD.format(probe=folder),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        if await holder.stdout.readline() != b"ready\n":
            why = (await holder.stderr.read()).decode().strip()
            pytest.skip(f"mounts are not permitted here ({why}); run it as root with CAP_SYS_ADMIN")
        made = Mounts(holder.pid, folder)
        made.do("umount", folder)
        yield made
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()
        holder._transport.close()  # type: ignore[attr-defined]


def emit(cluster: Cluster, first: int, count: int, size: int = 0) -> None:
    for number in range(first, first + count):
        cluster.emit("//stuff", "alerts", "counted", number, "x" * size)


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["args"][0] for record in records if record["kind"] == "event"]


def dropped(records: list[dict[str, Any]]) -> int:
    return sum(record["dropped"] or 0 for record in records if record["kind"] == "gap")


async def answer(command: Any, path: str) -> tuple[int, str]:
    url = (await command.url()).rstrip("/") + path
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_full_disk_is_an_alarm_everywhere_and_nothing_acknowledged_is_lost(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts
) -> None:
    disk = mounts.tmpfs("16m")
    command = await start(
        "--config", write_config(spool={"path": str(disk / "spool.db")}, http={"listen": "127.0.0.1:0"})
    )
    await command.ready()
    emit(cluster, 0, 100)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 100, "the first events")
    assert (await answer(command, "/readyz"))[0] == 200
    mounts.fill()
    emit(cluster, 100, 1000, 1000)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    status, text = await answer(command, "/readyz")
    assert status == 503
    assert "The disk does not take events; 1,000 are held in memory, and no sink gets them" in text
    assert "tdbwatch_spool_trouble 1" in (await answer(command, "/metrics"))[1]
    assert len(numbers(lines("alerts.jsonl"))) == 100, "what is not durable is not delivered"
    mounts.free()
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 1100, "all events")
    assert (await answer(command, "/readyz"))[0] == 200
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(1100))
    assert dropped(lines("alerts.jsonl")) == 0


async def test_what_is_delivered_never_fills_a_disk_that_is_smaller_than_max_size(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts
) -> None:
    disk = mounts.tmpfs("6m")
    command = await start("--config", write_config(spool={"path": str(disk / "spool.db")}))
    await command.ready()
    for turn in range(1, 9):  # four times what the disk holds
        emit(cluster, (turn - 1) * 100, 100, 30_000)
        await until(lambda: len(numbers(lines("alerts.jsonl"))) == turn * 100, "all events")  # noqa: B023
    assert await command.stop() == 0
    assert dropped(lines("alerts.jsonl")) == 0


async def test_a_disk_that_undelivered_events_filled_is_left_once_the_sink_is_mended(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way of the sink")
    disk = mounts.tmpfs("16m")
    retry = {"initial": "50ms", "max": "100ms", "max_attempts": "unlimited", "max_age": "unlimited"}
    config = write_config(
        spool={"path": str(disk / "spool.db")},
        sinks={"audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl"), "retry": retry}},
    )
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 0, 1000, 30_000)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    (tmp_path / "out").unlink()
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 1000, "all events")
    await until(lambda: command.said("spool.disk_accepts_again"), "the end of the alarm")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(1000))
    assert dropped(lines("alerts.jsonl")) == 0


async def test_what_a_stop_on_a_full_disk_loses_is_said_and_told_by_the_next_start(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way of the sink")
    disk = mounts.tmpfs("16m")
    config = write_config(spool={"path": str(disk / "spool.db")})
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 0, 1000, 30_000)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    assert await command.stop() == 0
    said = [record for record in command.records() if record["event"] == "spool.dropped"]
    lost = sum(record["count"] for record in said)
    assert lost > 0
    assert {record["then"] for record in said} == {"the next start tells of it in gap records"}
    (tmp_path / "out").unlink()
    again = await start("--config", config)
    await again.ready()
    await until(lambda: dropped(lines("alerts.jsonl")) > 0, "the gap record")
    assert await again.stop() == 0
    [stopped] = [record for record in command.records() if record["event"] == "daemon.stopped"]
    kept = numbers(lines("alerts.jsonl"))
    assert kept == sorted(set(kept))
    assert len(kept) + dropped(lines("alerts.jsonl")) == stopped["received"]
    assert lost == dropped(lines("alerts.jsonl")), "records of nodes are no events that are lost"
    gaps = [record for record in lines("alerts.jsonl") if record["kind"] == "gap"]
    assert "spool: the disk did not take them" in {gap["reason"] for gap in gaps}


async def test_a_disk_that_one_sick_sink_fills_is_told_of_for_all_and_the_sick_one_is_named(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts, tmp_path: Path
) -> None:
    disk = mounts.tmpfs("6m")
    sinks = {
        "audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")},
        "oncall": {"type": "webhook", "url": "http://127.0.0.1:9/"},  # where nobody listens
    }
    spool = {"path": str(disk / "spool.db"), "max_size": "1GB"}
    config = write_config(spool=spool, sinks=sinks, http={"listen": "127.0.0.1:0"})
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 0, 400, 30_000)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    status, text = await answer(command, "/readyz")
    [reason] = [reason for reason in json.loads(text)["reasons"] if reason["part"] == "spool"]
    assert status == 503
    assert re.search(
        r"no sink gets them before it does. It holds \d+ events that oncall has not got.", reason["text"]
    )
    assert "or the sink that is behind" in reason["remedy"]
    assert "no sink gets them before it does" in (await answer(command, "/"))[1]
    async with asyncio.timeout(20):
        while (lag := await lag_of("audit", command))[0] > lag[1]:  # the sink may be slower than the spool
            await asyncio.sleep(0.05)
    assert lag[0] == lag[1] > 0, "it has all but what the disk does not take"
    await until_stats_say("the disk is nearly full: ", start, config)
    checked = await start("check", "--config", config)
    assert await checked.exit_code() == 0
    assert "spool.max_size: warning: the disk has space for" in checked.text


async def lag_of(sink: str, command: Any) -> tuple[int, int]:
    """How many events it has not got, and how many memory holds."""
    found = json.loads((await answer(command, "/status.json"))[1])
    return {each["name"]: each["lag"] for each in found["sinks"]}[sink], found["spool"]["held"]


async def until_stats_say(what: str, start: Any, config: Path) -> None:
    async with asyncio.timeout(20):
        said = ""
        while what not in said:
            stats = await start("spool", "stats", "--config", config)
            assert await stats.exit_code() == 0
            said = stats.text


async def test_a_start_on_a_full_disk_ends_with_a_code_that_systemd_tries_again(
    start: Any, cluster: Cluster, write_config: Any, mounts: Mounts
) -> None:
    disk = mounts.tmpfs("6m")
    config = write_config(spool={"path": str(disk / "spool.db")})
    command = await start("--config", config)
    await command.ready()
    assert await command.stop() == 0
    mounts.fill()
    command = await start("--config", config)
    assert await command.exit_code() == 74
    assert command.said("spool.unusable")
    assert "make space or mend the disk" in command.text
    mounts.free()
    command = await start("--config", config)
    await command.ready()
    assert await command.stop() == 0


@pytest.fixture
def ext4(mounts: Mounts, tmp_path: Path) -> Any:
    """A file system that turns read-only at its first error, and the loop device that it is on."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True, check=False)
    found = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    )
    if made.returncode or found.returncode:
        pytest.skip("needs mkfs.ext4 and a loop device; run it as root on a machine that has both")
    device = Path(found.stdout.strip())
    try:
        mounts.do("mount", "-o", "errors=remount-ro", device, mounts.folder)
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)


async def test_a_file_system_that_turns_read_only_holds_events_until_it_is_mended(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts, ext4: Path
) -> None:
    command = await start("--config", write_config(spool={"path": str(mounts.folder / "spool.db")}))
    await command.ready()
    emit(cluster, 0, 100)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 100, "the first events")
    Path(f"/sys/fs/ext4/{ext4.name}/trigger_fs_error").write_text("1")
    emit(cluster, 100, 300)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    assert len(numbers(lines("alerts.jsonl"))) == 100, "what is not durable is not delivered"
    mounts.do("umount", "--lazy", mounts.folder)
    copy = ext4_mended(mounts, ext4)
    emit(cluster, 400, 100)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 500, "all events")
    await until(lambda: command.said("spool.disk_accepts_again"), f"the end of the alarm, {copy}")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(500))


def ext4_mended(mounts: Mounts, device: Path) -> Path:
    """What an operator does: check the disk, mount it again. A copy, since the daemon still has the other."""
    image = mounts.folder.with_name("mended")
    shutil.copy(mounts.folder.with_name("image"), image)
    checked = subprocess.run(["e2fsck", "-fy", image], capture_output=True, text=True, check=False)
    assert checked.returncode in {0, 1}, checked.stdout
    mounts.do("mount", "-o", "loop", image, mounts.folder)
    return image


async def test_a_stop_on_a_read_only_file_system_ends_in_time_and_says_what_is_lost(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, mounts: Mounts, ext4: Path
) -> None:
    command = await start("--config", write_config(spool={"path": str(mounts.folder / "spool.db")}))
    await command.ready()
    emit(cluster, 0, 10)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 10, "the first events")
    Path(f"/sys/fs/ext4/{ext4.name}/trigger_fs_error").write_text("1")
    emit(cluster, 10, 300)
    await until(lambda: command.said("spool.disk_refuses"), "the alarm")
    command.signal(signal.SIGTERM)
    assert await command.exit_code() == 0
    [said] = [record for record in command.records() if record["event"] == "spool.dropped"]
    assert said["then"] == "no gap record will tell of it"
    assert said["count"] >= 300
