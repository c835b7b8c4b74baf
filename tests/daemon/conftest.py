"""What several modules of tests here share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import SqliteSpool
from tdbwatch.testing import ManualClock

from .courier_bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = SqliteSpool(tmp_path / "spool.db", clock=clock, linger=0)
    await spool.open()
    bench = Bench(spool, clock)
    yield bench
    for courier in bench.couriers:
        await courier.stop(0)
    await spool.close()
