"""SIGKILL at random moments, and SIGSTOP: nothing acknowledged is lost, renamed or out of order.

A few of either by default; `make soak` says how many more with TDBWATCH_KILLS. A failure prints its seed, for
TDBWATCH_SEED.
"""

import asyncio
import os
import signal
from typing import Any

import pytest

KILLS = int(os.environ.get("TDBWATCH_KILLS", "3"))
STOPS = max(2, KILLS // 4)


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_sigkill_at_random_moments_loses_nothing_that_was_acknowledged(rig: Any) -> None:
    for turn in range(KILLS):
        await rig.start()
        if turn % 3 == 0:  # at any moment of a life, the start included
            await rig.emit_for(rig.rng.uniform(0.1, 1.5))
        else:  # amid deliveries
            seen = len(rig.sees())
            wanted = seen + rig.rng.randint(1, 300)
            while len(rig.sees()) < wanted and rig.process.returncode is None:
                await rig.emit_for(0.05)
        await rig.kill()
    await rig.start()
    await rig.ready()
    rig.emit(10)
    await rig.until(rig.oracle.complete, "everything acknowledged has reached every sink")
    assert await rig.stop() == 0, rig.log()
    oracle = rig.oracle
    print(
        f"{KILLS} kills: {rig.emitted} emitted, {len(oracle.spooled)} seen in the spool, "
        f"{len(oracle.acknowledged)} acknowledged, deliveries {dict(oracle.deliveries)}"
    )
    assert oracle.verdict() == []
    assert len(oracle.acknowledged) > 20 * KILLS, "there was something to lose"


@pytest.mark.timeout(60 + STOPS)
async def test_a_daemon_that_was_stopped_for_a_while_goes_on_and_loses_nothing(rig: Any) -> None:
    await rig.start()
    await rig.ready()

    def numbers() -> set[int]:
        taken = rig.oracle.first.values()
        return set.intersection(
            *({r["args"][0] for r in records.values() if r["kind"] == "event"} for records in taken)
        )

    for _ in range(STOPS):
        await rig.until(lambda: len(numbers()) > rig.emitted - 1000, "the slow sink is not far behind")
        rig.emit(150)
        await asyncio.sleep(rig.rng.uniform(0, 0.1))
        rig.process.send_signal(signal.SIGSTOP)
        rig.emit(100)
        await asyncio.sleep(0.3)
        rig.process.send_signal(signal.SIGCONT)
    await rig.until(lambda: len(numbers()) == rig.emitted, "every event has reached every sink")
    await rig.until(rig.oracle.complete, "every event that is to be grouped is in a group")
    assert await rig.stop() == 0, rig.log()
    print(f"{STOPS} stops: {rig.emitted} emitted, deliveries {dict(rig.oracle.deliveries)}")
    assert rig.oracle.verdict() == []
