"""What a sink had not got at a restart is counted before its lag is said."""

import asyncio

from tdbwatch.daemon.spool.stored.blocks import Lane
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
