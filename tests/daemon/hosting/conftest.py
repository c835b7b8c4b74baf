"""Hosts that are closed at the end of a test."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tdbwatch.testing import ManualClock

from .hosts_kit import Acting, MakeHost


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def make_host(clock: ManualClock) -> AsyncIterator[MakeHost]:
    hosts: list[Any] = []

    async def make(kind: type, act: Callable[[], Any]) -> tuple[Any, Acting]:
        sink = Acting(act)
        host = kind(lambda: sink, name="acting", timeout=5, clock=clock)
        hosts.append(host)
        await host.open()
        return host, sink

    yield make
    for host in hosts:
        await host.close(5)
