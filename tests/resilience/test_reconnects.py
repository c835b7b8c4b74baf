"""Reconnects never stampede: no node is tried more often than the documented cap, whatever is wrong."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tdbwatch.client import Client
from tdbwatch.client.links.pool import NODE_BACKOFF
from tdbwatch.client.transports import dialing
from tdbwatch.node import Cluster
from tdbwatch.wire import Kind

from .virtual_time import LoopClock, run
from .world import World

HOUR = 3600.0
CAP = 245
"""Attempts at one node in an hour (docs/resilience.md): every 15 to 30 s, after the first few."""


def test_the_documented_cap_is_what_the_backoff_allows() -> None:
    quickest = [NODE_BACKOFF.ceiling(n) * (1 - NODE_BACKOFF.jitter) for n in range(CAP + 1)]
    assert sum(quickest[:CAP]) >= HOUR > sum(quickest[: CAP - 3])


def refuse_all(world: World) -> None:
    for proxy in world.proxies:
        proxy.refusing = True
        proxy.reset()


def freeze_all(world: World) -> None:
    for node in world.nodes:
        node.faults.freeze()


def lose_at_join(world: World) -> None:
    """They accept, they log in, and then they close."""
    for node in world.nodes:
        node.faults.close_on(Kind.JOIN, None)
        node.faults.close_connections()


def refuse_login(world: World) -> None:
    world.cluster.add_user("admin", "another")
    for node in world.nodes:
        node.faults.close_connections()


@pytest.mark.parametrize("spoil", [refuse_all, freeze_all, lose_at_join, refuse_login])
@pytest.mark.parametrize("connections", [1, 3])
def test_in_an_hour_in_which_no_node_works_none_is_tried_more_often_than_the_cap(
    spoil: Callable[[World], None], connections: int
) -> None:
    async def attempts() -> list[int]:
        async with World(connections=connections) as world:
            before = [proxy.accepted for proxy in world.proxies]
            spoil(world)
            await world.clock.sleep(HOUR)
            return [proxy.accepted - earlier for proxy, earlier in zip(world.proxies, before, strict=True)]

    tried = run(attempts())
    assert max(tried) <= CAP
    assert min(tried) >= 20, "each is tried again, or nothing would ever heal"


def test_a_node_that_comes_and_goes_is_not_tried_more_often_either() -> None:
    async def attempts() -> int:
        async with World(nodes=1, connections=1) as world:
            before = world.proxies[0].accepted
            end = world.clock.monotonic() + HOUR
            while world.clock.monotonic() < end:
                world.proxies[0].reset()
                await world.clock.sleep(0.5)
            return world.proxies[0].accepted - before

    assert run(attempts()) <= CAP


def test_many_watchers_that_lost_the_same_node_come_back_at_different_times() -> None:
    async def spread() -> list[float]:
        clock, came = LoopClock(), []
        async with Cluster(1, clock=clock) as cluster:
            clients = [Client(clock=clock) for _ in range(40)]
            for client in clients:
                await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
            await clock.sleep(60)
            await cluster.nodes[0].stop()
            await clock.sleep(100)
            await cluster.nodes[0].start()
            back = clock.monotonic()
            while len(came) < len(clients):
                came += [clock.monotonic() - back] * (sum(c.is_connected() for c in clients) - len(came))
                await clock.sleep(0.1)
            for client in clients:
                await client.close_and_wait()
        return came

    times = run(spread())
    assert max(times) <= 31
    assert len({int(t) for t in times}) >= 8, "seconds in which any of the forty came"


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """`db.test` has the addresses 127.0.0.2 and 127.0.0.1, in this order."""

    async def look_up(host: str, port: int) -> list[Any]:
        hosts = ["127.0.0.2", "127.0.0.1"] if host == "db.test" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    monkeypatch.setattr(dialing, "look_up", look_up)


@pytest.mark.usefixtures("two_addresses")
@pytest.mark.parametrize("alive", ["127.0.0.1", "127.0.0.2"])
def test_a_name_with_two_addresses_is_reached_by_the_one_that_lives(alive: str) -> None:
    async def connect() -> Any:
        clock = LoopClock()
        async with Cluster(1, host=alive, clock=clock) as cluster, Client(clock=clock) as client:
            cluster.on_query("1;", 1)
            await client.connect_pool([("db.test", cluster.nodes[0].port)], "admin", "pass")
            return await client.query("1;", scope="//stuff")

    assert run(connect()) == 1


@pytest.fixture
def port_everywhere() -> Iterator[int]:
    """A port that is free on every address, and given to nobody who does not ask for it."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the nodes may bind it, too
        keeper.bind(("", 0))
        yield keeper.getsockname()[1]


@pytest.mark.usefixtures("two_addresses")
def test_when_the_address_in_use_dies_the_names_other_address_takes_over(port_everywhere: int) -> None:
    port = port_everywhere

    async def move() -> tuple[int, int]:
        clock = LoopClock()
        async with (
            Cluster(1, host="127.0.0.2", ports=[port], clock=clock) as first,
            Cluster(1, host="127.0.0.1", ports=[port], clock=clock) as second,
            Client(clock=clock) as client,
        ):
            await client.connect_pool([("db.test", port)], "admin", "pass")
            used, spare = sorted((first.nodes[0], second.nodes[0]), key=lambda n: -n.connections)
            await used.stop()
            while not spare.connections:
                await clock.sleep(0.1)
            return used.connections, spare.connections

    assert run(move()) == (0, 1)
