"""What several modules of tests here share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import DamageReport
from tests.daemon.couriers.courier_kit import bench, memory_bench  # noqa: F401 - fixtures
from tests.daemon.spool.spool_kit import Heard, MakeSpool, making


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool is that `make` opens."""
    return tmp_path / "state" / "spool.db"


@pytest.fixture
def told() -> Heard:
    """What such spools tell of."""
    return Heard()


@pytest.fixture
def reports(told: Heard) -> list[DamageReport]:
    """What such spools tell of damage."""
    return told.damages


@pytest.fixture
async def make(path: Path, told: Heard) -> AsyncIterator[MakeSpool]:
    """Opens spools of one sink, `s`, that look at their file all the time."""
    async with making(path.parent, sinks=["s"], listener=told) as make:
        yield make
