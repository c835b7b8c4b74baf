"""A cluster of real ThingsDB nodes on loopback, started from a binary, for tests and measurements.

What the nodes need to know is in their public documentation: configuration by environment, the first node
made with `--init`, further ones started with a one-time `--secret` and invited with `new_node`.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tdbwatch.client import Client
from tdbwatch.exceptions import NodeError
from tdbwatch.room import Room

from .node import HOST, RealNode, free_ports
from .waiting import ClusterError, until

USER: Final = "admin"
FIRST_PASSWORD: Final = "pass"
"""What `--init` gives to `USER`; changed at once, since a node's WebSocket listens on every interface."""
SETTLED: Final = frozenset({"READY", "AWAY_SOON", "AWAY"})
"""Nodes take turns in being away, also right after a start: READY of all at once may never be seen."""


class RealCluster:
    """Nodes that were started here and end here.

    Args:
        binary: the ThingsDB node.
        folder: an empty folder for data and logs.
        size: how many nodes.
        shutdown_period: seconds that a node which got SIGTERM goes on answering.
    """

    def __init__(self, binary: Path, folder: Path, size: int = 3, shutdown_period: int = 2) -> None:
        self.auth = (USER, secrets.token_hex(12))
        ports = free_ports(3 * size)  # asked for together: no two nodes may get the same one
        self.nodes = [
            RealNode(i, binary, folder, shutdown_period, ports[3 * i : 3 * i + 3]) for i in range(size)
        ]

    def by_address(self, address: str) -> RealNode:
        """The node that listens there."""
        return next(node for node in self.nodes if node.address == address)

    async def start(self, timeout: float = 120.0) -> None:
        """Make a new cluster; about 20 s, which are the nodes' own.

        Raises:
            ClusterError: it is not there within `timeout` seconds. Nothing is left running.
        """
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                await self._bootstrap()
        except BaseException as error:
            self.stop()
            if limit.expired():
                raise ClusterError(f"no cluster within {timeout:g} s") from error
            raise

    def stop(self) -> None:
        """End every node at once: what they store is of no use to anybody."""
        for node in self.nodes:
            node.kill()

    async def restart(self, node: RealNode) -> None:
        """Start a node again that ended; returns at once. `settled` waits until it takes part."""
        await node.ended()
        node.start()

    async def mend(self) -> None:
        """Thaw frozen nodes and start ended ones; returns before they take part again."""
        for node in self.nodes:
            if node.runs:
                node.signal(signal.SIGCONT)
            if node.is_ending:
                await self.restart(node)

    async def settled(self, timeout: float = 120.0) -> None:
        """Wait until every node sees every node take part: READY, or away for a moment."""
        waiting = "nothing"

        async def seen() -> bool:
            nonlocal waiting
            for node in self.nodes:
                node.check()
                try:
                    infos = await ask(node.address, self.auth, "nodes_info();", "@n", timeout=3)
                except Exception as error:
                    waiting = f"node {node.index}: {error}"
                    return False
                states = {info["node_id"]: info["status"] for info in infos}
                if len(states) < len(self.nodes) or not SETTLED.issuperset(states.values()):
                    waiting = f"node {node.index} sees {states}"
                    return False
            return True

        await until(seen, lambda: f"a settled cluster ({waiting})", timeout)

    async def _bootstrap(self) -> None:
        await self.found()
        for node in self.nodes[1:]:
            await self.add(node)
        await self.settled()

    async def found(self) -> None:
        """Make a cluster of the first node."""
        first = self.nodes[0]
        first.start("--init")
        await self._answers(first, (USER, FIRST_PASSWORD))
        await ask(
            first.address,
            (USER, FIRST_PASSWORD),
            "set_password(user, password);",
            "@t",
            user=USER,
            password=self.auth[1],
        )

    async def add(self, node: RealNode) -> None:
        """Start a node and invite it; it takes some more seconds until it takes part."""
        secret = secrets.token_hex(12)
        node.start("--secret", secret)
        await self._listens(node)
        await self._invite(node, secret)

    async def _invite(self, node: RealNode, secret: str) -> None:
        """Until it works: a cluster takes the next node only when it is connected to the one before."""

        async def invited() -> bool:
            node.check()
            code = "new_node(secret, host, port);"
            try:
                await ask(
                    self.nodes[0].address,
                    self.auth,
                    code,
                    "@t",
                    secret=secret,
                    host=HOST,
                    port=node.node_port,
                )
            except Exception as error:
                if "wait for" not in str(error):
                    raise
                return False
            return True

        await until(invited, f"node {node.index} to be invited", 60)

    async def _listens(self, node: RealNode) -> None:
        def listening() -> bool:
            node.check()
            return listens(node.node_port)

        await until(listening, f"node {node.index} to listen", 20)

    async def _answers(self, node: RealNode, auth: Sequence[str]) -> None:
        async def answered() -> bool:
            node.check()
            with contextlib.suppress(OSError):
                await ask(node.address, auth, "1;", "@n", timeout=2)
                return True
            return False

        await until(answered, f"an answer of node {node.index}", 20)


async def ask(
    address: str, auth: Sequence[str], code: str, scope: str, *, timeout: float = 10.0, **variables: Any
) -> Any:
    """One query over a connection of its own."""
    async with asyncio.timeout(timeout + 5), Client() as client:
        host, _, port = address.rpartition(":")
        await client.connect(host, int(port), timeout=timeout)
        await client.authenticate(*auth, timeout=timeout)
        return await client.query(code, scope=scope, timeout=timeout, **variables)


async def knows_room(address: str, auth: Sequence[str], scope: str, room_id: int) -> bool:
    """Whether a room can be joined at this very node, and so is heard and emitted to there.

    A query would not tell: a node that is away lets another one answer it, while it joins and emits by itself
    and is a little behind.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(15), Client() as client:
            await client.connect(host, int(port))
            await client.authenticate(*auth)
            await Room(room_id, scope=scope).join(client, wait=5)
    except (LookupError, OSError, NodeError):
        return False
    return True


def listens(port: int) -> bool:
    """Whether something on loopback accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
