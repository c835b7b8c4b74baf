"""The sign of life on disk, from which the next start knows since when nobody listened."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.client import Client
from tdbwatch.daemon.config import load
from tdbwatch.daemon.intake.beating import BEAT_INTERVAL
from tdbwatch.daemon.intake.causes import Cause, Silence
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.spool.looking.doctor import repair
from tdbwatch.daemon.spool.stored import beats
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.plugin.event import format_time
from tdbwatch.testing import ManualClock
from tests.daemon.spool.spool_kit import events, keep, making, until

ALERTS = Lane("//stuff", "alerts")
SILENCE = Silence(1_600_000_000.5, Cause.LOGIN, "node01:9200 refused the login")


def last_beat(path: Path) -> Beat | None:
    """What the next start would know."""
    with closing(sqlite3.connect(path)) as connection:
        return beats.load(connection)


async def test_the_last_beat_is_remembered_and_which_rooms_were_silent(tmp_path: Path) -> None:
    async with making(tmp_path) as make:
        spool = await make()
        assert spool.last_beat is None
        spool.beat(Beat(1_700_000_000))
        spool.beat(Beat(1_700_000_060, {ALERTS: SILENCE}))
        await spool.close()
        last = (await make()).last_beat
    assert last == Beat(1_700_000_060, {ALERTS: SILENCE})


@pytest.mark.parametrize("text", ["", "soon", "[]", "{}", "[1, [[1]]]", '"x"', "null", "1", b"x", None])
async def test_what_is_no_beat_is_none_and_no_damage(tmp_path: Path, text: Any) -> None:
    async with making(tmp_path) as make:
        await (await make()).close()
        with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as connection:
            connection.execute("INSERT INTO meta VALUES ('beat', ?)", (text,))
        assert (await make()).last_beat is None
    assert not list(tmp_path.glob("*.damaged-*"))


async def test_a_beat_survives_a_damaged_file(tmp_path: Path) -> None:
    async with making(tmp_path) as make:
        spool = await make()
        spool.beat(Beat(1_700_000_000, {ALERTS: SILENCE}))
        await keep(spool, events(1))
        (tmp_path / "spool.db").unlink()
        await until(lambda: list(tmp_path.glob("spool.db")))
        await spool.close()
        assert last_beat(tmp_path / "spool.db") == Beat(1_700_000_000, {ALERTS: SILENCE})
        repair(tmp_path / "spool.db")
        assert last_beat(tmp_path / "spool.db") == Beat(1_700_000_000, {ALERTS: SILENCE})


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


async def told_before(path: Path, beat: Beat) -> None:
    """A daemon ran before, and this was its last beat."""
    async with making(path) as make:
        spool = await make()
        spool.beat(beat)


async def test_that_a_room_is_heard_is_said_as_soon_as_it_is(tmp_path: Path, daemon: Daemon) -> None:
    await told_before(tmp_path, Beat(1_600_000_000))
    await daemon.start()
    await until(lambda: last_beat(tmp_path / "spool.db") == Beat(1_700_000_000))
    assert len(daemon.journal.gaps) == 1


async def test_before_a_room_is_heard_there_is_a_sign_of_life_even_at_the_very_first_start(
    tmp_path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, known = daemon.rooms.join, []

    async def joining(client: Client) -> None:
        known.append(last_beat(tmp_path / "spool.db"))
        await join(client)

    monkeypatch.setattr(daemon.rooms, "join", joining)
    await daemon.start()
    never = Silence(1_700_000_000, Cause.DOWNTIME, "it was not joined since the start")
    assert known == [Beat(1_700_000_000, {ALERTS: never})]


async def test_two_causes_of_one_silence_are_two_gaps_each_with_its_own(
    tmp_path: Path, daemon: Daemon
) -> None:
    await told_before(tmp_path, Beat(1_650_000_000, {ALERTS: SILENCE}))
    await daemon.start()
    await until(lambda: len(daemon.journal.gaps) == 2)
    login, downtime = daemon.journal.gaps
    assert (login.cause, login.reason) == ("login", "node01:9200 refused the login")
    assert (downtime.cause, downtime.reason) == ("downtime", "tdbwatch was not running")
    assert login.until == downtime.since == format_time(1_650_000_000 * 10**6)


async def test_a_restart_before_the_room_was_ever_heard_makes_no_second_gap(
    tmp_path: Path, daemon: Daemon
) -> None:
    silence = Silence(1_600_000_000, Cause.DOWNTIME, "it was not joined since the start")
    await told_before(tmp_path, Beat(1_650_000_000, {ALERTS: silence}))
    await daemon.start()
    await until(lambda: len(daemon.journal.gaps) == 1)
    assert daemon.journal.gaps[0].since == format_time(1_600_000_000 * 10**6)


async def test_a_clock_that_was_set_back_meanwhile_makes_no_gap_that_ends_before_it_begins(
    tmp_path: Path, daemon: Daemon
) -> None:
    await told_before(tmp_path, Beat(1_800_000_000))
    await daemon.start()
    await until(lambda: len(daemon.journal.gaps) == 1)
    [gap] = daemon.journal.gaps
    assert (gap.since, gap.cause) == (None, "downtime")
    assert gap.reason == "tdbwatch was not running; the machine's clock was set back meanwhile"


async def test_nothing_is_said_to_be_heard_that_the_spool_has_not_got(
    tmp_path: Path, daemon: Daemon, cluster: Cluster
) -> None:
    path, clock = tmp_path / "spool.db", daemon.clock
    assert isinstance(clock, ManualClock)
    await daemon.start()
    await until(lambda: last_beat(path) == Beat(1_700_000_000))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else may write
        cluster.emit("//stuff", "alerts", "counted", 1)
        await until(lambda: daemon.received == 1)
        for _ in range(5):
            await clock.advance(BEAT_INTERVAL)
            await asyncio.to_thread(lambda: None)  # a turn for what is written there
        last = last_beat(path)
        other.execute("ROLLBACK")
    assert last is not None
    assert last.time <= 1_700_000_000 + BEAT_INTERVAL
    async with asyncio.timeout(20):
        while (last := last_beat(path)) is None or last.time <= 1_700_000_000 + 5 * BEAT_INTERVAL:
            await clock.advance(BEAT_INTERVAL)
            await asyncio.to_thread(lambda: None)


async def test_nodes_that_do_not_let_go_do_not_keep_it_from_ending(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    await daemon.start()
    monkeypatch.setattr(daemon.client.__tdbwatch__.fleet, "wait_closed", asyncio.Event().wait)
    with structlog.testing.capture_logs() as logs:
        await asyncio.wait_for(daemon.stop(), 20)
    assert "nodes do not let go" in [line.get("reason") for line in logs]
