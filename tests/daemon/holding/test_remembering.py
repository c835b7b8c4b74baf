"""What routes remember, in the daemon: looked at each second; what is told is in the spool and the log."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.assembly import make_router
from tdbwatch.daemon.config import Config, parse
from tdbwatch.daemon.holding.holding import MOST_AT_ONCE
from tdbwatch.daemon.holding.remembering import Remembering
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.intake.rooms import Rooms
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.spool.stored.blocks import Heard, heard
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

TYPES = load_plugins().sink_types


class Spool:
    """What the seam is asked for here."""

    def __init__(self, marks: Sequence[Mark] = ()) -> None:
        self.heard: list[Heard] = []
        self.remembered: list[Mark] = []
        self._marks = list(marks)

    async def marks(self) -> list[Mark]:
        return self._marks

    def append(self, heard: Sequence[Heard]) -> None:
        self.heard += heard

    def remember(self, marks: Sequence[Mark]) -> None:
        self.remembered += marks


def config(**sections: Any) -> Config:
    base = {
        "thingsdb": {"nodes": ["a"], "auth": {"token": "t"}},
        "rooms": ["beats"],
        "sinks": {"chat": {"type": "log"}},
        "absences": [{"name": "beat", "match": {"room": "beats"}, "after": "30s", "to": "chat"}],
    }
    return parse(json.dumps({**base, **sections}).encode(), "watch.yaml", {}).config(TYPES)


class Daemon:
    """The parts that matter here, under a clock whose hands are turned."""

    def __init__(self, config: Config) -> None:
        self.clock, self.spool = ManualClock(), Spool()
        self.source = Source(self._heard, self.clock)
        rooms = Rooms(config.rooms, self.source, self.clock)
        parts: tuple[Any, ...] = (self.source, self.spool, rooms, self.clock)
        self.remembering = Remembering(InUse(config, 0, 0), make_router(config), *parts)
        self.room = next(iter(rooms))

    def _heard(self, found: Sequence[Heard]) -> None:
        self.remembering.heard(found)

    def hear(self, room: str, **others: Any) -> None:
        now_us = int(self.clock.time() * 1e6)
        self.remembering.heard(heard([Event.create(room, "x", received_us=now_us, **others)]))

    def told(self) -> list[dict[str, Any]]:
        return [event.record() for lane, run in self.spool.heard for event in run.unpacked(lane)]


@pytest.fixture
async def daemon() -> Any:
    made = Daemon(config())
    await made.remembering.load()
    running = asyncio.create_task(made.remembering.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()


async def pass_time(daemon: Daemon, seconds: int) -> None:
    for _ in range(seconds):
        await daemon.clock.advance(1)


async def test_each_second_what_is_due_is_told_and_logged(daemon: Daemon) -> None:
    with capture_logs() as logs:
        await pass_time(daemon, 29)
        assert daemon.told() == []
        assert [mark.key for mark in daemon.spool.remembered] == [""]
        await pass_time(daemon, 2)
        daemon.hear("beats")
    records = [record for record in daemon.told() if record["kind"] == "absence"]
    assert [(one["over"], one["heard"], one["cause"]) for one in records] == [
        (False, False, "downtime"),  # the room was never joined
        (True, False, "downtime"),
    ]
    assert [(line["event"], line["absence"]) for line in logs] == [
        ("absence.began", "beat"),
        ("absence.over", "beat"),
    ]


async def test_a_turn_that_comes_late_says_that_the_daemon_stood_still(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(daemon.room), "silence_now", None)  # it is heard
    monkeypatch.setattr(daemon.clock, "_start", daemon.clock.time() + 59)  # as after a machine slept
    await daemon.clock.advance(1)
    assert daemon.told() == []  # what came meanwhile is read first
    await daemon.clock.advance(1)
    (record,) = daemon.told()
    assert (record["heard"], record["cause"]) == (False, "stall")
    assert record["reason"].startswith("tdbwatch stood still for 60 s")


async def test_with_other_routes_those_that_stay_go_on_and_what_others_collected_is_told(
    daemon: Daemon,
) -> None:
    await pass_time(daemon, 10)
    group = {"group": {"wait": "1h"}, "to": "chat"}
    daemon.remembering.change(make_router(config(routes=[group])))
    daemon.hear("beats", kind="room")
    daemon.hear("other")
    assert daemon.remembering.holding.open == {"routes[0]": 1}
    daemon.remembering.change(make_router(config()))
    assert [record["kind"] for record in daemon.told()] == ["room", "event", "group"]
    await pass_time(daemon, 20)
    assert daemon.told()[-1]["seconds"] == 30


async def test_very_much_that_is_due_is_told_at_once_with_turns_for_others_between(daemon: Daemon) -> None:
    routes = [{"dedupe": {"window": "1h", "key": "event"}, "to": "chat"}]
    daemon.remembering.change(make_router(config(routes=routes)))
    many = [Event.create("other", f"e{n // 2}") for n in range(4 * MOST_AT_ONCE)]
    daemon.remembering.heard(heard(many))
    daemon.remembering.change(make_router(config(routes=[], absences=[])))
    assert 0 < len(suppressed(daemon)) <= MOST_AT_ONCE
    await daemon.clock.advance(1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(suppressed(daemon)) == 2 * MOST_AT_ONCE


def suppressed(daemon: Daemon) -> list[dict[str, Any]]:
    return [record for record in daemon.told() if record["kind"] == "suppressed"]
