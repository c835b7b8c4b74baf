"""Real nodes for the tests, and what the tests do with them again and again."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tdbwatch.client import Client, Heartbeat

from .cluster import RealCluster, ask, knows_room
from .daemon import DaemonProcess
from .ears import Ears
from .target import HOW_TO, Target, open_target
from .waiting import until

PROMPT = Heartbeat(interval=0.5, timeout=1.5)
"""Finds a frozen node out soon, so that tests need not wait for it."""

_figures = pytest.StashKey[list[str]]()


@dataclass(frozen=True)
class NewRoom:
    """A room that was made for one test."""

    name: str
    id: int
    scope: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A fixture may have to wait for nodes that start, which takes them up to a minute."""
    for item in items:
        if item.get_closest_marker("real") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(240))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the figures that tests found: what arrived is of interest also where nothing failed."""
    if lines := config.stash.get(_figures, []):
        terminalreporter.section("measured on real nodes")
        terminalreporter.write("".join(f"{line}\n" for line in lines))


@pytest.fixture
def figure(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[str, str], None]:
    """Report a figure: in the terminal's summary and in a report file."""
    lines = request.config.stash.setdefault(_figures, [])

    def figure(name: str, value: str) -> None:
        record_property(name, value)
        lines.append(f"{request.node.name}: {name}: {value}")

    return figure


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Running nodes that the environment names, or a fresh cluster, or a visible skip."""
    with open_target(tmp_path_factory.mktemp("thingsdb")) as target:
        if target is None:
            pytest.skip(HOW_TO)
        yield target


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A node for this module alone: its tests make and delete there what they like. It is never away."""
    if (binary := os.environ.get("TDBWATCH_THINGSDB_BIN")) is None:
        pytest.skip("needs a node that was started for it: set TDBWATCH_THINGSDB_BIN")
    alone = RealCluster(Path(binary).resolve(strict=True), tmp_path_factory.mktemp("lone"), size=1)
    try:
        asyncio.run(alone.start())
        yield alone
    finally:
        alone.stop()


@pytest.fixture(scope="session")
def scopes(target: Target) -> Iterator[tuple[str, str]]:
    """Two new collections, deleted at the end."""
    tag = secrets.token_hex(4)
    names = (f"tdbwatch_{tag}_a", f"tdbwatch_{tag}_b")

    async def each(code: str) -> None:
        for name in names:
            await ask(target.nodes[0], target.auth, code, "@t", timeout=30, name=name)

    asyncio.run(each("new_collection(name);"))
    yield (f"//{names[0]}", f"//{names[1]}")
    if target.cluster is None:  # else there is nobody to tidy up for
        asyncio.run(each("del_collection(name);"))


@pytest.fixture
async def cluster(target: Target) -> AsyncIterator[RealCluster]:
    """The cluster, settled, for tests that hurt it; afterwards what is left is put together again."""
    cluster = target.cluster
    if cluster is None:
        pytest.skip("nodes are only hurt if they were started here: set TDBWATCH_THINGSDB_BIN")
    await cluster.settled()
    yield cluster
    await cluster.mend()


@pytest.fixture
async def connect(target: Target) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Make a client that is connected to one of the given nodes, or of all."""
    async with AsyncExitStack() as stack:

        async def connect(*nodes: str, auth: tuple[str, ...] = target.auth, **options: object) -> Client:
            client = await stack.enter_async_context(Client(**{"heartbeat": PROMPT, **options}))
            await asyncio.wait_for(client.connect_pool(nodes or target.nodes, *auth), 60)
            return client

        yield connect


@pytest.fixture
async def watcher(connect: Callable[..., Awaitable[Client]]) -> Client:
    """A client with one connection, to a node of its choice."""
    return await connect()


@pytest.fixture
async def emitter(target: Target, connect: Callable[..., Awaitable[Client]], watcher: Client) -> Client:
    """A client of another node than the watcher's, if there is another one."""
    others = [node for node in target.nodes if node != watcher.connection_info()]
    return await connect(*others[-1:])


@pytest.fixture
def new_room(target: Target, scopes: tuple[str, str]) -> Callable[..., Awaitable[NewRoom]]:
    """Make a room with a name of its own, and wait until every node knows it."""

    async def new_room(client: Client, *, scope: str = scopes[0], name: str | None = None) -> NewRoom:
        name = name or f"room_{secrets.token_hex(4)}"
        code = f".{name} = room(); .{name}.set_name('{name}'); .{name}.id();"
        room_id = await client.query(code, scope=scope, timeout=30)
        for node in target.nodes:
            known = partial(knows_room, node, target.auth, scope, room_id)
            await until(known, f"room {name} to be known at {node}", 120)
        return NewRoom(name, room_id, scope)

    return new_room


@pytest.fixture
def twins(
    scopes: tuple[str, str], new_room: Callable[..., Awaitable[NewRoom]]
) -> Callable[..., Awaitable[tuple[NewRoom, NewRoom]]]:
    """Make two rooms with the same id in two collections. Ids count up, so the one behind catches up."""

    async def twins(client: Client) -> tuple[NewRoom, NewRoom]:
        rooms = [await new_room(client, scope=scope) for scope in scopes]
        while rooms[0].id != rooms[1].id:
            behind = 0 if rooms[0].id < rooms[1].id else 1
            rooms[behind] = await new_room(client, scope=scopes[behind])
        return rooms[0], rooms[1]

    return twins


@pytest.fixture
async def hear() -> Callable[..., Awaitable[Ears]]:
    """Join a room and remember all that is heard."""

    async def hear(client: Client, key: int | str, scope: str, *, lasting: bool = False) -> Ears:
        ears = Ears(key, scope=scope)
        await ears.join(client, wait=60, lasting=lasting)
        return ears

    return hear


@pytest.fixture
def daemon(tmp_path: Path, target: Target) -> Iterator[Callable[..., DaemonProcess]]:
    """Make a daemon that is ended after the test, whatever happens."""
    made: list[DaemonProcess] = []

    def daemon(thingsdb: Mapping[str, object], **rest: object) -> DaemonProcess:
        made.append(DaemonProcess(tmp_path, target.nodes, target.auth, thingsdb, rest))
        return made[-1]

    yield daemon
    for each in made:
        each.kill()
