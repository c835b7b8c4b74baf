"""What happens to sinks becomes records, where a route asks for them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.couriers import CourierStatus, SinkHealth
from tdbwatch.daemon.delivery.sink_watch import SinkWatch
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.daemon.spool.stored.blocks import Heard
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

STATUS = CourierStatus("s", "webhook", "running")


class Watched:
    """A watch, and the records that it makes."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.heard: list[Heard] = []
        routes = [
            RouteConfig.model_validate_json(f'{{"match": {{"kind": "{kind}"}}, "to": "log"}}')
            for kind in kinds
        ]
        self.source = Source(self.heard.extend, ManualClock())
        self.watch = SinkWatch(self.source, Router.of_names(routes, ["log"]))

    def records(self) -> list[dict[str, Any]]:
        self.source.flush()
        return [event.record() for lane, run in self.heard for event in run.unpacked(lane)]


def letter(event: Event) -> DeadLetter:
    return DeadLetter("oncall", Entry(1, event), "gave up", 3, "503", "504", 1, 2)


async def test_a_dead_letter_is_told_with_its_event_before_it_is_one() -> None:
    watched, event = Watched(["dead_letter"]), Event.create("alerts", "disk-full", [1])
    watched.watch.buried([letter(event)])
    (record,) = (event.record() for lane, run in watched.heard for event in run.unpacked(lane))
    assert (record["kind"], record["scope"], record["room"], record["event"]) == (
        *("dead_letter", "//stuff", "alerts", "disk-full"),
    )
    assert record["record"] == event.record()
    assert (record["sink"], record["reason"], record["attempts"]) == ("oncall", "gave up", 3)
    assert (record["first_error"], record["last_error"]) == ("503", "504")


async def test_a_large_event_is_named_and_not_repeated() -> None:
    watched, event = Watched(["dead_letter"]), Event.create("alerts", "x", ["x" * 100_000])
    watched.watch.buried([letter(event)])
    (record,) = watched.records()
    assert (record["record"], record["event_id"]) == (None, event.id)


async def test_of_the_record_of_a_dead_letter_there_is_no_record() -> None:
    watched = Watched(["dead_letter"])
    watched.watch.buried([letter(Event.create("alerts", "x", kind="dead_letter", details={"sink": "s"}))])
    assert watched.records() == []


async def test_each_change_of_a_sink_is_one_record() -> None:
    watched = Watched(["sink"])
    paused = replace(STATUS, state="paused", health=SinkHealth(last_error="401"), lag=7)
    refusing = replace(STATUS, state="refusing", health=SinkHealth(last_refusal="no"))
    probed = replace(STATUS, health=SinkHealth(probing=True))
    seen = [STATUS, paused, paused, replace(STATUS, state="opening"), refusing, probed]
    for status in [*seen, replace(STATUS, state="stuck"), STATUS, STATUS, replace(STATUS, state="stopped")]:
        watched.watch.look([status])
    records = watched.records()
    assert [record["state"] for record in records] == ["paused", "refusing", "failing", "stuck", "recovered"]
    assert {(record["kind"], record["sink"], record["room"]) for record in records} == {("sink", "s", "")}
    assert [record["reason"] for record in records[:2]] == ["401", "no"]
    assert records[0]["lag"] == 7


@pytest.mark.parametrize("kinds", [[], ["event"], ["gap", "room", "node"]])
async def test_without_a_route_for_them_nothing_is_made(kinds: list[str]) -> None:
    watched = Watched(kinds)
    watched.watch.buried([letter(Event.create())])
    watched.watch.look([replace(STATUS, state="paused")])
    assert watched.records() == []
