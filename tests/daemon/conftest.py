"""What several modules of tests here share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import DamageReport, SqliteSpool
from tdbwatch.testing import ManualClock

from .courier_bench import Bench
from .spool_bench import MakeSpool, making


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool is that `make` opens."""
    return tmp_path / "state" / "spool.db"


@pytest.fixture
def reports() -> list[DamageReport]:
    """What such spools tell of damage."""
    return []


@pytest.fixture
async def make(path: Path, reports: list[DamageReport]) -> AsyncIterator[MakeSpool]:
    """Opens spools of one sink, `s`, that look at their file all the time."""
    options = {"check_interval": 0.01, "sinks": ["s"], "on_damage": reports.append}
    async with making(path.parent, **options) as make:
        yield make
