"""A cluster of embedded nodes behind proxies, a steady stream of emits, and a watch on one room."""

import asyncio
import random
from collections.abc import Callable, Hashable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Final, Self

from tdbwatch.client import Client, Heartbeat
from tdbwatch.client.links.link import Link
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.daemon.config.models.thingsdb import RoomConfig
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.intake.watched import WatchedRoom
from tdbwatch.daemon.spool.stored.blocks import Heard
from tdbwatch.node import Cluster, Node
from tdbwatch.plugin.event import Event
from tdbwatch.wire.codec import decode

from .proxy import Proxy
from .verdict import Gap, Sent, Verdict, judge
from .virtual_time import LoopClock

SAME: Final = "same"
IDENTICAL: Final = 5
"""With identical payloads, one emit in so many has the same one."""
RATE: Final = 25.0
"""Emits per second of a steady stream."""
PATIENCE: Final = 120.0
"""Seconds after which what is waited for will not happen any more."""


class World:
    """Everything of one run; `async with` starts and stops it.

    The watch is what the daemon has between the connector and its spool: a `WatchedRoom` on a `Source`.

    Args:
        connections: nodes that the watch is connected to at once.
        identical: one payload in five is the same; all others are distinct.
        lag: the longest time, in seconds, that an emit takes from one node to another.
        ears: also note what each connection hears by itself.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        nodes: int = 3,
        connections: int = 2,
        identical: bool = False,
        lag: float = 0.005,
        ears: bool = False,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = LoopClock()
        self.cluster = Cluster(nodes, clock=self.clock)
        self.cluster.add_room("//stuff", "alerts")
        self.proxies = [Proxy(node) for node in self.cluster.nodes]
        self.client = Client(
            connections=connections,
            clock=self.clock,
            rng=random.Random(seed),
            heartbeat=heartbeat,
            raw_events=True,
        )
        self.records: list[Event] = []
        self.room = WatchedRoom(RoomConfig(name="alerts"), Source(self._append, self.clock), self.clock)
        self.sent: list[Sent] = []
        self.heard_by_links: list[tuple[Link, Hashable]] = []
        self.busy_until = 0.0
        """Until when the stream of a schedule is dense."""
        self._ears = Subscription("alerts", "//stuff", _Deaf(), each_link=self._link_heard) if ears else None
        self._identical = identical
        self._lag = lag
        self._connections = connections
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.cluster)
        for proxy in self.proxies:
            await self._stack.enter_async_context(proxy)
        self.restore_lag()
        await self._stack.enter_async_context(self.client)
        for subscription in filter(None, (self.room.subscription, self._ears)):
            await self.client.subscribe(subscription)
        await self.client.connect_pool([proxy.address for proxy in self.proxies], "admin", "pass")
        await self.recovered()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # -- where things are --------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        return self.cluster.nodes

    def in_use(self) -> list[int]:
        """The nodes that the room is heard from."""
        links = self.room.subscription.links
        addresses = [str(link.address) for link in links if link.is_live and not link.leaving]
        return [i for i, proxy in enumerate(self.proxies) if proxy.address in addresses]

    async def recovered(self) -> None:
        """Return when the room is heard from as many nodes as it should be, and each of them is well."""
        for _ in range(2):
            await self.until(self._is_heard_well, f"{self._connections} live connections")
            await self.clock.sleep(1.5)  # a link of before may live on for a moment

    def _is_heard_well(self) -> bool:
        used = self.in_use()
        return len(used) >= self._connections and all(self._is_well(number) for number in used)

    def _is_well(self, number: int) -> bool:
        node, proxy = self.nodes[number], self.proxies[number]
        return node.ready_for_rooms and not (node.faults.frozen or proxy.is_cut("up") or proxy.is_cut("down"))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = self.clock.monotonic() + PATIENCE
        while not condition():
            assert self.clock.monotonic() < deadline, f"still waiting for {what}"
            await self.clock.sleep(0.01)

    # -- emits -------------------------------------------------------------------------------------------

    def emitters(self) -> list[int]:
        """The nodes that can emit now."""
        return [n.id for n in self.nodes if n.running and not n.faults.frozen]

    def emit(self, count: int = 1) -> None:
        """Emit from any nodes that can."""
        for _ in range(count):
            emitters = self.emitters()
            if not emitters:
                return
            number = len(self.sent)
            payload: Hashable = SAME if self._identical and number % IDENTICAL == 0 else number
            self.sent.append(Sent(payload, self.clock.time()))
            self.cluster.emit("//stuff", "alerts", "tick", payload, node=self.rng.choice(emitters))

    async def stream(self, seconds: float, rate: float = RATE) -> None:
        """Emit steadily."""
        for _ in range(round(seconds * rate)):
            self.emit()
            await self.clock.sleep(1 / rate)

    def streaming(self, rate: float = RATE) -> "Streaming":
        """Emit steadily within a block, and a little longer."""
        return Streaming(self, rate)

    def restore_lag(self) -> None:
        for node in self.nodes:
            node.faults.lag = self._some_lag

    # -- what came of it ---------------------------------------------------------------------------------

    def heard(self) -> list[Hashable]:
        return [event.args[0] for event in self.records if event.kind == "event"]

    def gaps(self) -> list[Gap]:
        return [_gap(event.record()) for event in self.records if event.kind == "gap"]

    def verdict(self) -> Verdict:
        return judge(self.sent, self.heard(), self.gaps(), [payload for _, payload in self.heard_by_links])

    # -- inside ------------------------------------------------------------------------------------------

    def _some_lag(self) -> float:
        return self._lag * self.rng.random()

    def _append(self, heard: Sequence[Heard]) -> None:
        self.records += [event for lane, run in heard for event in run.unpacked(lane)]

    def _link_heard(self, link: Link, emit: Any) -> None:
        self.heard_by_links.append((link, decode(bytes(emit.args))[0]))


class Streaming:
    """Emits while its block runs."""

    def __init__(self, world: World, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._world.stream(1e9, self._rate), name="stream")
        await self._world.clock.sleep(1)

    async def __aexit__(self, kind: object, *_: object) -> None:
        assert self._task is not None
        if kind is None:
            await self._world.clock.sleep(8)
        self._task.cancel()
        if kind is None:
            await self._world.clock.sleep(2)


class _Deaf:
    """A listener that nothing is told to: it only keeps a subscription alive."""

    def deliver(self, emit: Any) -> None: ...

    def room_joined(self, room_id: int) -> None: ...

    def room_deleted(self) -> None: ...

    def room_unjoinable(self, error: Exception) -> None: ...

    def room_unheard(self, reason: str, since: float) -> None: ...

    def room_heard(self) -> None: ...


def _gap(record: dict[str, Any]) -> Gap:
    since, until = (datetime.fromisoformat(record[key]).timestamp() for key in ("since", "until"))
    return Gap(since, until, record["reason"])
