"""Random faults in random order: every call ends, nothing runs twice in secret, every room is heard again.

A schedule is drawn from a seed, which a failure prints; `TDBWATCH_SEED=<seed>` runs that one alone, and
`TDBWATCH_SOAK=<n>` runs n times as many. Time is the test's own, so minutes of faults pass in a moment.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter

import pytest

from tdbwatch.client import Client, Heartbeat
from tdbwatch.client.links import keeper
from tdbwatch.client.rooms import joiner
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.exceptions import ConnectionLostError, NodeError, NotConnectedError
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock
from tdbwatch.wire import Kind

SEEDS = (
    [int(os.environ["TDBWATCH_SEED"])]
    if "TDBWATCH_SEED" in os.environ
    else range(16 * int(os.environ.get("TDBWATCH_SOAK", "1")))
)
STEPS = 60
ROOMS = 6
ENDS = (ConnectionLostError, NodeError, NotConnectedError, TimeoutError)
"""What a call may end with, apart from its answer."""


class World:
    """A cluster, a client, and what was done with them."""

    def __init__(self, seed, Ears, cluster, clock):
        self.rng = random.Random(seed)
        self.cluster = cluster
        self.clock = clock
        self.client = Client(
            clock=clock,
            rng=random.Random(seed),
            connections=self.rng.choice([1, 1, 2]),
            heartbeat=Heartbeat(5.0, 15.0),
        )
        self.client.set_default_scope("//stuff")
        self.ears = [Ears(name) for name in [*(f"room{n}" for n in range(ROOMS - 1)), ".code();"]]
        self.calls = {}
        self.executed = Counter()
        self.joins = []
        self.shutdowns = []
        cluster.on_query("count;", self._count)
        cluster.on_query(".code();", lambda *_: cluster.collection("stuff").room("coded").id)
        for name in (*(f"room{n}" for n in range(ROOMS - 1)), "coded"):
            cluster.add_room("//stuff", name)

    def _count(self, scope, code, variables):
        self.executed[variables["number"]] += 1
        return variables["number"]

    def node(self):
        return self.rng.choice(self.cluster.nodes)

    # -- what may happen --

    def query(self):
        number = len(self.calls)
        timeout = self.rng.choice([None, None, 0.05])
        self.calls[number] = asyncio.create_task(self.client.query("count;", number=number, timeout=timeout))

    def emit(self):
        ears = self.rng.choice(self.ears)
        with contextlib.suppress(LookupError, RuntimeError):
            self.calls[len(self.calls)] = asyncio.create_task(ears.emit("noise"))

    def cancel(self):
        if self.calls:
            self.rng.choice(list(self.calls.values())).cancel()

    def close_connections(self):
        self.node().faults.close_connections()

    def freeze(self):
        self.node().faults.freeze()

    def thaw(self):
        self.node().faults.thaw()

    def refuse(self):
        self.node().faults.refuse(self.rng.choice([Kind.QUERY, Kind.JOIN, Kind.EMIT]), self.rng.randint(1, 3))

    def drop(self):
        self.node().faults.drop_answers(self.rng.choice([Kind.QUERY, Kind.EMIT, Kind.PING]))

    def close_on(self):
        self.node().faults.close_on(self.rng.choice([Kind.QUERY, Kind.JOIN, Kind.AUTH, Kind.EMIT, Kind.PING]))

    def refuse_connections(self):
        self.node().faults.refuse_connections = self.rng.random() < 0.5

    def garbage(self):
        self.node().faults.send_raw(self.rng.randbytes(self.rng.randint(1, 40)))

    def shut_down(self):
        self.shutdowns.append(asyncio.create_task(self.node().shutdown()))

    def anew(self):
        name = self.rng.choice([f"room{n}" for n in range(ROOMS - 1)] + ["coded"])
        self.cluster.delete_room("//stuff", name)
        self.cluster.add_room("//stuff", name)

    async def stop(self):
        await self.node().stop()

    async def start(self):
        node = self.node()
        if not node.running:
            await node.start()

    async def reconnect(self):
        with contextlib.suppress(NotConnectedError):
            self.client.reconnect()

    async def rejoin(self):
        ears = self.rng.choice(self.ears)
        if ears.status is RoomStatus.JOINED:
            self.joins.append(asyncio.create_task(ears.leave()))
            await asyncio.sleep(0)

    async def pass_time(self):
        for _ in range(self.rng.randint(1, 20)):
            await self.clock.advance(0.5)

    # -- the end --

    async def heal(self):
        for node in self.cluster.nodes:
            node.faults.clear()
        await asyncio.gather(*self.shutdowns, self._minutes(1), return_exceptions=True)
        for node in self.cluster.nodes:
            if not node.running:
                await node.start()
            node.faults.clear()
        await asyncio.gather(*self.joins, return_exceptions=True)
        for ears in self.ears:
            if ears not in self.client.get_rooms():
                self.joins.append(asyncio.create_task(ears.join(self.client, wait=0)))
        await self._minutes(3)

    async def _minutes(self, count):
        for _ in range(count * 60):
            await self.clock.advance(1.0)
            await asyncio.sleep(0.0005)  # real answers need a moment of real time


ACTIONS = [
    *["query"] * 6,
    *["emit"] * 3,
    *["pass_time"] * 6,
    *["cancel", "close_connections", "freeze", "thaw", "thaw", "refuse", "drop", "close_on", "garbage"],
    *["refuse_connections", "shut_down", "anew", "stop", "start", "start", "reconnect", "rejoin"],
]


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_fails_in_whatever_order_every_call_ends_and_all_is_well_afterwards(
    seed, Ears, until, monkeypatch
):
    monkeypatch.setattr(joiner, "REQUEST_TIMEOUT", 0.2)  # answers come in real time, and these waits are real
    monkeypatch.setattr(keeper, "AUTH_TIMEOUT", 0.2)
    clock = ManualClock()
    async with Cluster(3, clock=clock) as cluster:
        world = World(seed, Ears, cluster, clock)
        client = world.client
        await client.connect_pool([node.address for node in cluster.nodes], "admin", "pass")
        await asyncio.gather(*(ears.join(client) for ears in world.ears))
        done = []
        for _ in range(STEPS):
            action = world.rng.choice(ACTIONS)
            done.append(action)
            result = getattr(world, action)()
            if asyncio.iscoroutine(result):
                await result
        context = f"seed {seed}: {' '.join(done)}"
        await world.heal()

        assert client.is_connected(), context
        assert await client.query("count;", number=-1) == -1
        dropped_answers = [number for number, call in world.calls.items() if not call.done()]
        await check_rooms(world, until, context)
        check_calls(world, dropped_answers, context)
        await client.close_and_wait()
        assert all(call.done() for call in world.calls.values()), context
        await asyncio.sleep(0)
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("tdbwatch-")]
        assert left == [], context


async def check_rooms(world, until, context):
    await until(lambda: all(ears.status is RoomStatus.JOINED for ears in world.ears), world.clock, 5.0)
    for number, ears in enumerate(world.ears):
        ears.heard.clear()
        name = "coded" if ears.id is None or number == ROOMS - 1 else f"room{number}"
        world.cluster.emit("//stuff", name, f"hello {number}")
    await until(lambda: all(ears.heard for ears in world.ears))
    for number, ears in enumerate(world.ears):
        assert ears.events.count(f"hello {number}") == 1, context


def check_calls(world, unanswered, context):
    """A call that ends well ran once; one that says it may have run at most once; others not at all."""
    for number, call in world.calls.items():
        runs = world.executed[number]
        assert runs <= 1, f"call {number} ran {runs} times; {context}"
        if (
            number in unanswered
        ):  # no deadline, and the node never answered: only the connection's end ends it
            assert runs == 1 or world.executed.get(number) is None, context
        elif call.cancelled() or isinstance(call.exception(), ConnectionLostError | TimeoutError):
            pass
        elif call.exception() is None:
            assert call.result() is None or (call.result() == number and runs == 1), context
        else:
            assert isinstance(call.exception(), (*ENDS, LookupError)), f"{call.exception()!r}; {context}"
            assert runs == 0, context
