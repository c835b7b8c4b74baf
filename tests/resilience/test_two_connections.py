"""With two connections nothing is lost and nothing doubled when any one node goes, however it goes."""

from typing import Any

import pytest

from tdbwatch.client import Client
from tdbwatch.room import Room

from . import faults
from .faults import Fault
from .verdict import Verdict
from .virtual_time import run
from .world import SAME, World

SHORT, LONG = 8.0, 25.0
"""Seconds: before and after the heartbeat gives a silent connection up."""

CASES = [
    (faults.shutdown, 1.0),
    (faults.crash, 1.0),
    (faults.crash, LONG),
    (faults.freeze, SHORT),
    (faults.freeze, LONG),
    (faults.cut, SHORT),
    (faults.cut, LONG),
    (faults.cut_up, SHORT),
    (faults.cut_up, LONG),
    (faults.cut_down, SHORT),
    (faults.cut_down, LONG),
    (faults.reset, 0.0),
    (faults.reset, LONG),
    (faults.slow, LONG),
    (faults.deafen, LONG),
    (faults.away, 20.0),
]
each_fault = pytest.mark.parametrize(("fault", "seconds"), CASES)


@each_fault
def test_whatever_happens_to_a_node_in_use_nothing_is_lost_or_doubled(fault: Fault, seconds: float) -> None:
    verdict = run(watch(fault, seconds))
    assert verdict.sent > 200
    assert (verdict.lost, verdict.doubled, verdict.gaps) == ({}, {}, [])


@each_fault
def test_with_identical_payloads_nothing_is_lost_and_few_are_doubled(fault: Fault, seconds: float) -> None:
    verdict = run(watch(fault, seconds, identical=True))
    assert verdict.lost == {}
    assert set(verdict.doubled) <= {SAME}
    assert verdict.doubled[SAME] <= 2, "one for the loss, one for the join (docs/resilience.md)"
    assert verdict.gaps == []


async def watch(fault: Fault, seconds: float, *, identical: bool = False) -> Verdict:
    async with World(identical=identical) as world:
        async with world.streaming():
            await fault(world, world.in_use()[0], seconds)
            await world.recovered()
        return world.verdict()


@pytest.mark.parametrize("identical", [False, True])
def test_a_rolling_restart_of_the_whole_cluster_loses_nothing(identical: bool) -> None:
    async def restart_all() -> Verdict:
        async with World(identical=identical) as world:
            async with world.streaming():
                for number in range(len(world.nodes)):
                    await faults.shutdown(world, number, 2.0)
                    await world.recovered()
                    await world.clock.sleep(5)
            return world.verdict()

    verdict = run(restart_all())
    assert verdict.lost == {}
    assert verdict.doubled.total() <= (2 * 3 if identical else 0)
    assert verdict.gaps == []


class Ears(Room):
    """A room of the connector's public face, whose events are decoded."""

    def __init__(self) -> None:
        super().__init__("alerts", "//stuff")
        self.heard: list[Any] = []

    def on_emit(self, event: str, *args: Any) -> None:
        self.heard += args


@pytest.mark.parametrize("fault", [faults.shutdown, faults.crash, faults.freeze, faults.cut])
def test_a_program_with_rooms_hears_every_event_once_too(fault: Fault) -> None:
    async def hear() -> tuple[list[Any], list[Any]]:
        async with World() as world, Client(connections=2, clock=world.clock) as client:
            await client.connect_pool([proxy.address for proxy in world.proxies], "admin", "pass")
            ears = Ears()
            await ears.join(client)
            await world.until(lambda: len(client.links()) == 2, "both connections")
            async with world.streaming():
                number = next(i for i, p in enumerate(world.proxies) if p.address == client.connection_info())
                await fault(world, number, LONG)
            return [each.payload for each in world.sent], ears.heard

    sent, heard = run(hear())
    assert sorted(heard) == sent


def test_a_node_that_shuts_down_is_replaced_before_it_goes() -> None:
    async def replaced_after() -> float:
        async with World() as world:
            leaving = world.in_use()[0]
            world.nodes[leaving].spawn(world.nodes[leaving].shutdown(), "shutdown")
            began = world.clock.monotonic()
            await world.until(lambda: leaving not in world.in_use(), "the word to come")
            await world.until(lambda: len(world.in_use()) == 2, "another connection")
            assert world.nodes[leaving].running
            return world.clock.monotonic() - began

    assert run(replaced_after()) < 1.0


def test_a_connection_that_goes_is_replaced_on_a_node_that_is_not_in_use() -> None:
    async def moved() -> tuple[set[int], set[int], int]:
        async with World() as world:
            before = set(world.in_use())
            world.proxies[min(before)].reset()
            await world.until(lambda: set(world.in_use()) not in (before, before - {min(before)}), "a move")
            return before, set(world.in_use()), min(before)

    before, after, lost = run(moved())
    assert len(after) == 2
    assert after == {0, 1, 2} - {lost}
    assert after != before
