"""With one connection events can be lost; a gap record encloses each of them."""

import pytest

from tdbwatch.client import Heartbeat

from . import faults
from .faults import Fault
from .verdict import Verdict
from .virtual_time import run
from .world import RATE, World

LONG = 40.0


@pytest.mark.parametrize("fault", [faults.freeze, faults.cut, faults.cut_down, faults.cut_up])
@pytest.mark.parametrize("heartbeat", [Heartbeat(), Heartbeat(1.0, 3.0)])
def test_what_falls_silent_is_noticed_within_the_heartbeats_timeout(
    fault: Fault, heartbeat: Heartbeat
) -> None:
    async def noticed_after() -> float:
        async with World(connections=1, heartbeat=heartbeat) as world:
            (link,) = world.room.subscription.links
            world.nodes[0].spawn(fault(world, world.in_use()[0], LONG), "fault")
            began = world.clock.monotonic()
            await world.until(lambda: not link.is_live, "the loss to be noticed")
            return world.clock.monotonic() - began

    assert heartbeat.interval < run(noticed_after()) <= heartbeat.timeout + 0.02


@pytest.mark.parametrize("fault", [faults.freeze, faults.cut, faults.cut_down])
def test_the_gap_of_a_silent_node_encloses_every_lost_event(fault: Fault) -> None:
    verdict = run(watch(fault, LONG))
    assert verdict.lost.total() > 200
    assert (verdict.untold, verdict.doubled) == ({}, {})
    (gap,) = verdict.gaps
    assert 15 < gap.until - gap.since < 18
    assert "nothing was heard" in gap.reason


@pytest.mark.parametrize("fault", [faults.shutdown, faults.crash, faults.reset])
def test_the_gap_of_a_node_that_goes_with_a_word_is_short_and_encloses_what_was_lost(fault: Fault) -> None:
    verdict = run(watch(fault, LONG, lag=0.3))
    assert verdict.untold == {}
    assert verdict.doubled.total() <= 0.3 * RATE, "what was on its way to the node that took over"
    (gap,) = verdict.gaps
    assert gap.until - gap.since < 3


@pytest.mark.parametrize("fault", [faults.freeze, faults.cut])
def test_a_node_that_falls_silent_for_less_than_the_timeout_loses_nothing(fault: Fault) -> None:
    verdict = run(watch(fault, 10.0))
    assert (verdict.lost, verdict.doubled, verdict.gaps) == ({}, {}, [])


def test_without_any_node_the_gap_lasts_until_one_comes_back() -> None:
    async def alone() -> tuple[Verdict, float]:
        async with World(nodes=1, connections=1) as world:
            async with world.streaming():
                await faults.crash(world, 0, 100.0)
                back = world.clock.time()
                await world.recovered()
            return world.verdict(), back

    verdict, back = run(alone())
    (gap,) = verdict.gaps
    assert 0 <= gap.until - back < 32, "the longest wait of the backoff, and the join"


async def watch(fault: Fault, seconds: float, lag: float = 0.005) -> Verdict:
    async with World(connections=1, lag=lag) as world:
        async with world.streaming():
            await fault(world, world.in_use()[0], seconds)
            await world.recovered()
        return world.verdict()
