"""The canary finds links that live and deliver nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from tdbwatch.client import Client
from tdbwatch.client.links.link import Link
from tdbwatch.daemon.intake.canary import Canary
from tdbwatch.exceptions import ForbiddenError
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock
from tests.daemon.spool.spool_kit import until


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(2) as made:
        made.add_room("//stuff", "canary")
        yield made


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(connections=2, raw_events=True) as made:
        await made.connect_pool([node.address for node in cluster.nodes], "admin", "pass")
        yield made


async def test_a_link_that_delivers_nothing_is_given_up(cluster: Cluster, client: Client) -> None:
    canary, clock = await start(cluster, client)
    cluster.nodes[1].faults.deaf = True
    deaf = next(link for link in canary.subscription.links if str(link.address) == cluster.nodes[1].address)
    await sing(canary, clock, deaf)
    assert "canary" in str(deaf.loss)
    assert canary.failures == 1


async def test_links_that_deliver_it_are_kept(cluster: Cluster, client: Client) -> None:
    canary, clock = await start(cluster, client)
    links = list(canary.subscription.links)
    for _ in range(3):
        await sing(canary, clock)
    assert canary.failures == 0
    assert all(link.is_live for link in links)


async def test_another_daemon_in_the_same_room_is_noticed_and_said_once(
    cluster: Cluster, client: Client
) -> None:
    canary, clock = await start(cluster, client)
    async with Client(connections=2, raw_events=True) as other_client:
        await other_client.connect_pool([node.address for node in cluster.nodes], "admin", "pass")
        other, other_clock = await start(cluster, other_client)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await sing(other, other_clock)
            await until(lambda: [line for line in logs if line["event"] == "canary.another"])
    assert [line["event"] for line in logs if line["event"] == "canary.another"] == ["canary.another"]
    await sing(canary, clock)
    assert (canary.failures, other.failures) == (0, 0)


async def test_when_it_cannot_be_emitted_no_link_is_blamed(cluster: Cluster, client: Client) -> None:
    canary, clock = await start(cluster, client)
    cluster.delete_room("//stuff", "canary")
    await sing(canary, clock)
    assert canary.failures == 0


async def test_a_canary_without_its_room_is_said_once_and_so_is_its_return(
    cluster: Cluster, client: Client
) -> None:
    canary, _ = await start(cluster, client)
    with structlog.testing.capture_logs() as logs:
        cluster.delete_room("//stuff", "canary")
        async with asyncio.timeout(20):
            while canary.subscription.links:
                await asyncio.sleep(0.001)
        for _ in range(5):
            canary.room_unjoinable(LookupError("there is no such room"))
        cluster.add_room("//stuff", "canary")
        async with asyncio.timeout(20):
            while not canary.subscription.links:
                await asyncio.sleep(0.001)
    said = [line["event"] for line in logs]
    assert said.count("canary.back") == 1
    assert said.count("canary.no_room") == len({line["reason"] for line in logs if "reason" in line}) <= 3


async def test_that_it_cannot_be_emitted_is_said_once_and_so_is_that_it_can_again(
    cluster: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary, clock = await start(cluster, client)

    async def refused(*_: object, **__: object) -> None:
        raise ForbiddenError("no EVENT on //stuff")

    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(client, "emit", refused)
            for _ in range(3):
                await sing(canary, clock)
            assert canary.not_emitted == "no EVENT on //stuff"
        await sing(canary, clock)
    assert canary.not_emitted == ""
    assert [line["event"] for line in logs] == ["canary.not_emitted", "canary.emitted_again"]


async def start(cluster: Cluster, client: Client) -> tuple[Canary, ManualClock]:
    """A canary that is joined on both nodes."""
    clock = ManualClock()
    canary = Canary(client, "canary", "//stuff", interval=10.0, timeout=5.0, clock=clock)
    await client.subscribe(canary.subscription)
    while len(canary.subscription.links) < 2:
        await asyncio.sleep(0.001)
    return canary, clock


async def sing(canary: Canary, clock: ManualClock, *deaf: Link) -> None:
    """One round of the canary: time stands still until all links but these have heard what was emitted."""
    song = asyncio.create_task(canary._sing())
    await until(lambda: song.done() or (clock.sleepers and canary._missing <= set(deaf)))
    await clock.advance(5.0)
    await song
