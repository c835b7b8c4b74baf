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
_TABLE: Final = "tdbwatch_bench"

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
            emitter.reconnect()
            await until(lambda n=node: emitter.connection_info() != n.address, "the emitter to move", 60)
        node.signal(signal.SIGTERM)
        await cluster.restart(node)
        await cluster.settled()


async def cut(cluster: RealCluster, nodes: Sequence[RealNode], emitter: Client) -> None:  # noqa: ARG001
    """Drop every packet between the watch and a node, with nftables (needs root); the node itself is well."""
    port = nodes[0].address.rpartition(":")[2]
    chain = ["type filter hook input priority 0", f"tcp dport {port} drop", f"tcp sport {port} drop"]
    await _nft("\n".join([f"table inet {_TABLE} {{", "chain incoming {", *chain, "}", "}", ""]))
    try:
        await asyncio.sleep(FROZEN)
    finally:
        await _nft(f"delete table inet {_TABLE}")


async def _nft(rules: str) -> None:
    process = await asyncio.create_subprocess_exec("nft", "-f", "-", stdin=asyncio.subprocess.PIPE)
    await process.communicate(rules.encode())
    if process.returncode != 0:
        raise OSError("nft refused the rule; run this as root, with nftables installed")


FAULTS: Final[dict[str, Fault]] = {
    "sigterm": sigterm,
    "sigkill": sigkill,
    "sigstop": sigstop,
    "rolling": rolling,
    "cut": cut,
}
