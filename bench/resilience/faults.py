"""What is done to the nodes in the middle of a measurement."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tdbwatch.client import Client
from tests.real.cluster import RealCluster
from tests.real.node import RealNode
from tests.real.waiting import until

FROZEN: Final = 25.0
"""Seconds that a frozen node stays so: longer than anybody should need to notice."""

Fault = Callable[[RealCluster, Sequence[RealNode], Client], Awaitable[None]]
"""Hurts nodes of a cluster: the ones in use come first. The emitter must not be hurt unless it may move."""


async def sigterm(cluster: RealCluster, nodes: Sequence[RealNode], emitter: Client) -> None:  # noqa: ARG001
    nodes[0].signal(signal.SIGTERM)
    await cluster.restart(nodes[0])


async def sigkill(cluster: RealCluster, nodes: Sequence[RealNode], emitter: Client) -> None:  # noqa: ARG001
    nodes[0].signal(signal.SIGKILL)
    await cluster.restart(nodes[0])


async def sigstop(cluster: RealCluster, nodes: Sequence[RealNode], emitter: Client) -> None:  # noqa: ARG001
    nodes[0].signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN)
    nodes[0].signal(signal.SIGCONT)


async def rolling(cluster: RealCluster, nodes: Sequence[RealNode], emitter: Client) -> None:
    """Restart every node, one after the other; the emitter leaves each in time."""
    for node in nodes:
        if emitter.connection_info() == node.address:
            await emitter.reconnect()
            await until(lambda n=node: emitter.connection_info() != n.address, "the emitter to move", 60)
        node.signal(signal.SIGTERM)
        await cluster.restart(node)
        await cluster.settled()


FAULTS: Final[dict[str, Fault]] = {
    "sigterm": sigterm,
    "sigkill": sigkill,
    "sigstop": sigstop,
    "rolling": rolling,
}
