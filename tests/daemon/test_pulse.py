"""The sign of life on disk, from which the next start knows since when nobody listened."""

import asyncio
import json
import os
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.config import load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.pulse import INTERVAL, Beat, Pulse
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock, settle


@contextmanager
def no_byte_may_be_written() -> Iterator[None]:
    """As on a full disk; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


ALERTS, DEPLOYS = ("//stuff", "alerts"), ("//ops", "deploys")


async def test_the_last_beat_is_remembered_and_which_rooms_were_silent(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000)
    assert Pulse(tmp_path / "spool.db", clock).last() is None
    await Pulse(tmp_path / "spool.db", clock).beat({})
    await clock.advance(60)
    await Pulse(tmp_path / "spool.db", clock).beat({ALERTS: 1_700_000_010.5})
    last = Pulse(tmp_path / "spool.db", clock).last()
    assert last == Beat(1_700_000_060, {ALERTS: 1_700_000_010.5})
    assert (last.heard(ALERTS), last.heard(DEPLOYS)) == (1_700_000_010.5, 1_700_000_060)
    assert (tmp_path / "spool.db.alive").stat().st_mode & 0o777 == 0o600


async def test_a_beat_that_a_full_disk_does_not_take_leaves_the_one_before(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000)
    pulse = Pulse(tmp_path / "spool.db", clock)
    await pulse.beat({})
    await clock.advance(60)
    with no_byte_may_be_written():
        await pulse.beat({})
    assert pulse.last() == Beat(1_700_000_000)


async def test_a_disk_that_hangs_does_not_hang_the_event_loop(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "spool.db", ManualClock(1_700_000_000))
    new = tmp_path / "spool.db.alive.new"
    os.mkfifo(new)  # whoever opens it to write waits until somebody reads
    beating = asyncio.create_task(pulse.beat({}))
    await settle()
    assert not beating.done()
    reader = os.open(new, os.O_RDONLY | os.O_NONBLOCK)
    await beating
    os.close(reader)


@pytest.mark.parametrize("text", ["", "soon", "[]", "{}", '{"time": 1, "silent": [[1]]}', '"x"', "null"])
def test_what_is_no_beat_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "spool.db.alive").write_text(text)
    assert Pulse(tmp_path / "spool.db", ManualClock()).last() is None


def test_a_beat_of_the_first_versions_is_understood(tmp_path: Path) -> None:
    (tmp_path / "spool.db.alive").write_text("1700000000.123      ")
    assert Pulse(tmp_path / "spool.db", ManualClock()).last() == Beat(1_700_000_000.123)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(1) as made:
        made.add_room("//stuff", "alerts")
        yield made


@pytest.fixture
async def daemon(tmp_path: Path, cluster: Cluster) -> AsyncIterator[Daemon]:
    """A daemon whose clock stands still."""
    auth = {"username": "admin", "password": "pass"}
    config: dict[str, Any] = {
        "thingsdb": {"nodes": [cluster.nodes[0].address], "auth": auth},
        "rooms": ["alerts"],
        "sinks": {"console": {"type": "log"}},
        "spool": {"path": str(tmp_path / "spool.db")},
        "shutdown": {"grace": "1s"},
    }
    file = tmp_path / "watch.yaml"
    file.write_text(json.dumps(config))
    registry = load_plugins((), ())
    daemon = Daemon(load(file, registry.sink_types), registry, clock=ManualClock())
    yield daemon
    await daemon.stop()


async def until(met: Callable[[], bool]) -> None:
    """Wait for what depends on threads and sockets, not on the daemon's clock."""
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0.01)


async def test_that_a_room_is_heard_is_said_as_soon_as_it_is(tmp_path: Path, daemon: Daemon) -> None:
    await Pulse(tmp_path / "spool.db", ManualClock(1_600_000_000)).beat({})
    pulse = Pulse(tmp_path / "spool.db", ManualClock())
    await daemon.start()
    await until(lambda: pulse.last() == Beat(1_700_000_000, {}))
    assert len(daemon.journal.gaps) == 1


async def test_a_clock_that_was_set_back_meanwhile_makes_no_gap_that_ends_before_it_begins(
    tmp_path: Path, daemon: Daemon
) -> None:
    await Pulse(tmp_path / "spool.db", ManualClock(1_800_000_000)).beat({})
    await daemon.start()
    await until(lambda: len(daemon.journal.gaps) == 1)
    [gap] = daemon.journal.gaps
    assert (gap.since, gap.cause) == (None, "downtime")
    assert gap.reason == "tdbwatch was not running; the machine's clock was set back meanwhile"


async def test_nothing_is_said_to_be_heard_that_the_spool_has_not_got(
    tmp_path: Path, daemon: Daemon, cluster: Cluster
) -> None:
    pulse, clock = Pulse(tmp_path / "spool.db", ManualClock()), daemon.clock
    assert isinstance(clock, ManualClock)
    await daemon.start()
    await until(lambda: pulse.last() == Beat(1_700_000_000, {}))
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else may write
        cluster.emit("//stuff", "alerts", "counted", 1)
        await until(lambda: daemon.received == 1)
        for _ in range(5):
            await clock.advance(INTERVAL)
            await asyncio.to_thread(lambda: None)  # a turn for what is written there
        last = pulse.last()
        other.execute("ROLLBACK")
    assert last is not None
    assert last.time <= 1_700_000_000 + INTERVAL
    async with asyncio.timeout(20):
        while (last := pulse.last()) is None or last.time <= 1_700_000_000 + 5 * INTERVAL:
            await clock.advance(INTERVAL)
            await asyncio.to_thread(lambda: None)


async def test_nodes_that_do_not_let_go_do_not_keep_it_from_ending(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    await daemon.start()
    monkeypatch.setattr(daemon.client, "wait_closed", asyncio.Event().wait)
    with structlog.testing.capture_logs() as logs:
        await asyncio.wait_for(daemon.stop(), 20)
    assert "nodes do not let go" in [line["event"] for line in logs]
