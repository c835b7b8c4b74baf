"""The whole daemon, down to the sink's file: what a fault of a node costs."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any

import pytest

from tdbwatch.client.rooms.hearing import IN_FLIGHT
from tdbwatch.node import Cluster, Node

from .verdict import Gap, Sent, Verdict, judge

LAST = "last"
"""Ends the stream: in the order of one emitting node, everything else came before it."""
Start = Callable[..., Awaitable[Any]]


async def crash(node: Node) -> None:
    await node.stop()
    await asyncio.sleep(0.3)
    await node.start()


async def shutdown(node: Node) -> None:
    await node.shutdown()
    await node.start()


async def freeze(node: Node) -> None:
    node.faults.freeze()
    await asyncio.sleep(1.0)
    node.faults.thaw()


class Emitter:
    """Emits numbers, steadily, from one node."""

    def __init__(self, cluster: Cluster, node: Node, *, identical: bool = False) -> None:
        self.sent: list[Sent] = []
        self._cluster, self._node, self._identical = cluster, node, identical

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="emitter")
        await self.sends(30)
        yield
        await self.sends(max(30, 101 - len(self.sent)))
        task.cancel()
        self._emit(LAST)

    async def sends(self, count: int) -> None:
        """Until it has sent so many more."""
        until = len(self.sent) + count
        while len(self.sent) < until:
            await asyncio.sleep(0.005)

    async def _run(self) -> None:
        while True:
            number = len(self.sent)
            self._emit("same" if self._identical and number % 5 == 0 else number)
            await asyncio.sleep(0.005)

    def sends_at_once(self, count: int) -> None:
        for _ in range(count):
            self._emit(len(self.sent))

    def _emit(self, payload: Hashable) -> None:
        self.sent.append(Sent(payload, time.time()))
        self._cluster.emit("//stuff", "alerts", "tick", payload, node=self._node.id)


def used(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes if node.connections]


def vouch(watch: Any) -> bool:
    """Whether each of two connections has heard the room for so long that it vouches for the other."""
    (room,) = watch.daemon.rooms
    since = room.subscription.hearing._links
    return len(since) == 2 and all(link.heard_at - start > IN_FLIGHT for link, start in since.items())


async def verdict_of(watch: Any, emitter: Emitter, *, links: int) -> Verdict:
    """What arrived, once the stream has ended.

    Of several links one that has just joined may deliver the end before another one delivers what came before
    it, so what is missing then is waited for; what is lost is waited for in vain, and told by the verdict.
    """

    def heard_payloads() -> set[Hashable]:
        return {record["args"][0] for record in watch.records("alerts")}

    await watch.until(lambda: LAST in heard_payloads())
    if links > 1:
        with contextlib.suppress(TimeoutError):
            await watch.until(lambda: {sent.payload for sent in emitter.sent} <= heard_payloads())
    heard = [record["args"][0] for record in watch.records("alerts")]
    gaps = [
        Gap(
            *(datetime.fromisoformat(record[key]).timestamp() for key in ("since", "until")), record["reason"]
        )
        for record in watch.records("alerts", "gap")
    ]
    return judge(emitter.sent, heard, gaps)


@pytest.mark.parametrize(
    ("fault", "identical"), [(crash, False), (shutdown, True), (freeze, False), (freeze, True)]
)
async def test_with_two_connections_nothing_is_lost_when_a_node_in_use_goes(
    start: Start, cluster: Cluster, fault: Callable[[Node], Awaitable[None]], identical: bool
) -> None:
    watch = await start(["alerts"])
    await watch.until(lambda: len(used(cluster)) == 2)
    (spare,) = set(cluster.nodes) - set(used(cluster))
    emitter = Emitter(cluster, spare, identical=identical)
    async with emitter.running():
        await watch.until(lambda: vouch(watch))
        await fault(used(cluster)[0])
    verdict = await verdict_of(watch, emitter, links=2)
    assert verdict.sent > 100
    assert (verdict.lost, verdict.gaps) == ({}, [])
    assert verdict.doubled.total() <= (2 if identical else 0)


async def test_with_one_connection_the_gap_of_a_frozen_node_encloses_every_lost_event(
    start: Start, cluster: Cluster
) -> None:
    watch = await start(["alerts"], connections=1)
    (node,) = used(cluster)
    emitter = Emitter(cluster, next(n for n in cluster.nodes if n is not node))
    async with emitter.running():
        node.faults.freeze()
        emitter.sends_at_once(30)
        await watch.until(lambda: watch.daemon.client.connection_info() not in {node.address, "disconnected"})
        node.faults.thaw()
    verdict = await verdict_of(watch, emitter, links=1)
    assert verdict.lost.total() > 20
    assert (verdict.untold, verdict.doubled) == (Counter(), Counter())
    (gap,) = verdict.gaps
    assert "nothing was heard" in gap.reason
