"""When more goes than there are connections, events are lost, and gap records enclose them."""

import asyncio

import pytest

from tdbwatch.daemon.intake.canary import Canary

from . import faults
from .faults import Fault
from .verdict import Verdict
from .virtual_time import run
from .world import World


@pytest.mark.parametrize("fault", [faults.freeze, faults.cut, faults.cut_down])
def test_both_connections_falling_silent_at_once_is_a_gap_that_encloses_what_was_lost(fault: Fault) -> None:
    async def hurt_both() -> Verdict:
        async with World() as world:
            async with world.streaming():
                await asyncio.gather(*(fault(world, number, 40.0) for number in world.in_use()))
                await world.recovered()
            return world.verdict()

    verdict = run(hurt_both())
    assert verdict.lost.total() > 100
    assert (verdict.untold, verdict.doubled) == ({}, {})
    assert len(verdict.gaps) == 1


def test_a_frozen_node_hides_no_loss_while_it_is_not_yet_noticed() -> None:
    """One node freezes; before that is noticed the other one crashes, and the third cannot be reached."""

    async def hurt_in_turn() -> Verdict:
        async with World() as world:
            first, second = world.in_use()
            (third,) = {0, 1, 2} - {first, second}
            async with world.streaming():
                freezing = asyncio.create_task(faults.freeze(world, first, 40.0))
                refusing = asyncio.create_task(faults.reset(world, third, 8.0))
                await world.clock.sleep(4)
                await faults.crash(world, second, 6.0)
                await asyncio.gather(freezing, refusing)
                await world.recovered()
            return world.verdict()

    verdict = run(hurt_in_turn())
    assert verdict.lost.total() > 20
    assert (verdict.untold, verdict.doubled) == ({}, {})
    (gap,) = verdict.gaps
    assert gap.until - gap.since < 20


@pytest.mark.parametrize("deaf", [[0], [0, 1]])
def test_with_a_canary_connections_that_deliver_nothing_are_replaced(deaf: list[int]) -> None:
    async def deafened() -> tuple[list[int], Canary]:
        async with World() as world:
            world.cluster.add_room("//stuff", "canary")
            canary = Canary(world.client, "canary", "//stuff", 10.0, 5.0, world.clock)
            await world.client.subscribe(canary.subscription)
            singing = asyncio.create_task(canary.run(), name="canary")
            numbers = [world.in_use()[which] for which in deaf]
            for number in numbers:
                world.nodes[number].faults.deaf = True
            began = world.clock.monotonic()
            await world.until(lambda: canary.failures >= len(numbers), "the canary to notice")
            assert world.clock.monotonic() - began <= 10.0 + 5.0 + 0.1
            await world.until(lambda: bool(world.in_use()), "another connection")
            singing.cancel()
            return numbers, canary

    numbers, canary = run(deafened())
    assert canary.failures == len(numbers)
