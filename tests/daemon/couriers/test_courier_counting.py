"""What a sink had not got at a restart is counted before its lag is said."""

import asyncio

import pytest

from tdbwatch.daemon.couriers import reading
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin import Event, Retry
from tdbwatch.testing import ManualClock, settle
from tests.daemon.spool.memory_spool_kit import Disk, MemorySpool

from .courier_kit import Bench, failing


class _SlowToCount(MemorySpool):
    """Counts when it is let."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.may_count = asyncio.Event()

    async def count_lane(self, lane: Lane, after: int, through: int) -> int:
        await self.may_count.wait()
        return await super().count_lane(lane, after, through)


async def test_after_a_restart_the_lag_is_only_said_once_it_is_counted() -> None:
    disk = Disk()
    before = Bench(MemorySpool(disk), ManualClock())
    courier, _ = before.courier(lambda batch: [failing(1)(event) for event in batch], name="oncall")
    await before.emit(1, room="stuck")
    await before.emit(2, room="fine")
    assert courier.status().lag == 1
    await courier.stop(0)
    await before.spool.close()
    spool = _SlowToCount(disk)
    after = Bench(spool, ManualClock())
    courier, sink = after.courier(name="oncall")
    await settle()
    assert courier.status().counting
    spool.may_count.set()
    await courier.caught_up()
    assert not courier.status().counting
    assert sink.got == [1]
    await courier.stop(0)


@pytest.mark.parametrize("space", [4 << 20, 1])
async def test_after_a_restart_the_lag_leaves_out_what_the_routes_send_elsewhere(
    space: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as one read goes; of the rest all counts, until it is read."""
    monkeypatch.setattr(reading, "_READ_BYTES", space)

    def wants(event: Event) -> bool:
        return bool(event.args[0] % 2)

    disk, lags = Disk(), list[int]()
    for _ in range(2):
        bench = Bench(MemorySpool(disk), ManualClock())
        courier, _ = bench.courier(lambda batch: Retry("down"), name="oncall", wants=wants)
        if not lags:
            for number in range(10):
                await bench.emit(number, room="sick")
        await settle()
        lags.append(courier.status().lag)
        await courier.stop(0)
        await bench.spool.close()
    assert lags == [5, 5 if space > 1 else 9]
