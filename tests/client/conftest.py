"""Clients on embedded nodes: real sockets, and a clock whose hands the test turns."""

import asyncio
import contextlib
import logging
import random
from collections import Counter

import pytest

from tdbwatch.client import Client
from tdbwatch.node import Cluster
from tdbwatch.room import Room
from tdbwatch.testing import ManualClock
from tdbwatch.wire import Kind


class Ears(Room):
    """A room that keeps all it hears, and what becomes of it."""

    def __init__(self, room, scope="//stuff"):
        super().__init__(room, scope)
        self.heard = []
        self.hooks = []

    def on_init(self):
        self.hooks.append("init")

    async def on_join(self):
        self.hooks.append("join")

    def on_leave(self):
        self.hooks.append("leave")

    def on_delete(self):
        self.hooks.append("delete")

    def on_emit(self, event, *args):
        self.heard.append((event, *args))

    @property
    def events(self):
        return [event for event, *_ in self.heard]


async def until(condition, clock=None, step=0.25):
    """Yield until it holds; with a clock, let time pass."""
    async with asyncio.timeout(20):
        while not condition():
            if clock is None:
                await asyncio.sleep(0)
            else:
                await clock.advance(step)


async def pass_time(clock, seconds, step=0.5):
    """Let time pass in small steps, so that what happens on sockets can keep up."""
    for _ in range(round(seconds / step)):
        await clock.advance(step)


@pytest.fixture(name="until")
def _until():
    return until


@pytest.fixture(name="pass_time")
def _pass_time():
    return pass_time


@pytest.fixture(name="Ears")
def _ears():
    return Ears


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def cluster(clock):
    """One node; `//stuff` has the room 1, `alerts`. `echo;` answers its variables, `slow;` nothing."""
    async with Cluster(1, clock=clock) as cluster:
        furnish(cluster)
        yield cluster


@pytest.fixture
async def pair(clock):
    """As `cluster`, with two nodes, which take 6 s to shut down."""
    async with Cluster(2, clock=clock) as cluster:
        furnish(cluster)
        yield cluster


def furnish(cluster):
    cluster.add_room("//stuff", "alerts")
    cluster.on_query("echo;", lambda scope, code, variables: variables)
    cluster.on_query("slow;", lambda *_: asyncio.get_running_loop().create_future())


@pytest.fixture(name="furnish")
def _furnish():
    return furnish


@pytest.fixture
async def new_client(clock, caplog):
    """Make clients; at the end they are closed, and must have left nothing behind."""
    clients = []

    def new_client(**options):
        client = Client(**{"clock": clock, "rng": random.Random(1), **options})
        clients.append(client)
        return client

    with caplog.at_level(logging.DEBUG, "tdbwatch"):
        yield new_client
    for client in clients:
        await client.close_and_wait()
    await asyncio.sleep(0)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("tdbwatch-")] == []
    assert [record for record in caplog.records if "mistake of ours" in record.getMessage()] == []


def addresses(cluster):
    return [node.address for node in cluster.nodes]


@pytest.fixture
def connect(new_client):
    """A client of all nodes of a cluster, logged in."""

    async def connect(cluster, **options):
        client = new_client(**options)
        client.set_default_scope("//stuff")
        await client.connect_pool(addresses(cluster), "admin", "pass")
        return client

    return connect


@pytest.fixture
def where():
    """The node that a client's requests go to, and the others."""

    def where(client, cluster):
        (used,) = [node for node in cluster.nodes if node.address == client.connection_info()]
        return used, *[node for node in cluster.nodes if node is not used]

    return where


@pytest.fixture
def executed():
    """How often each query was executed, of those that the cluster remembers."""

    def executed(cluster):
        return Counter(request.body[1] for request in cluster.log if request.kind is Kind.QUERY)

    return executed


@pytest.fixture
async def client(connect, cluster):
    return await connect(cluster)


@pytest.fixture
def node(cluster):
    return cluster.nodes[0]


@pytest.fixture
def emit(cluster):
    """Emit from anywhere."""
    return lambda name, *args, room="alerts", scope="//stuff": cluster.emit(scope, room, name, *args)


@pytest.fixture
async def talker():
    """A server that says what it is told to as soon as somebody connects, or in answer to anything."""
    servers = []

    async def talker(greeting=b"", answer=None, where=("127.0.0.1", 0)):
        async def serve(reader, writer):
            writer.write(greeting)
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    if answer is not None:
                        writer.write(answer(data))
            writer.close()

        server = await asyncio.start_server(serve, *where)
        servers.append(server)
        return server.sockets[0].getsockname()[:2]

    yield talker
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def lose(client, cluster, until, clock):
    """Lose the connection, let something happen meanwhile, and wait for the next connection."""

    async def lose(meanwhile=lambda: None):
        cluster.nodes[0].faults.close_connections()
        await until(lambda: not client.is_connected())
        meanwhile()
        await until(client.is_connected, clock)
        await client.query("echo;")

    return lose
