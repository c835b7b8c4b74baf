"""A cluster of real ThingsDB nodes on loopback, started from a binary, for tests and measurements.

What the nodes need to know is in their public documentation: configuration by environment, the first node
made with `--init`, further ones started with a one-time `--secret` and invited with `new_node`.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tdbwatch.client import Client
from tdbwatch.exceptions import NodeError
from tdbwatch.room import Room

HOST: Final = "127.0.0.1"
USER: Final = "admin"
FIRST_PASSWORD: Final = "pass"
"""What `--init` gives to `USER`; changed at once, since a node's WebSocket listens on every interface."""
SETTLED: Final = frozenset({"READY", "AWAY_SOON", "AWAY"})
"""Nodes take turns in being away, also right after a start: READY of all at once may never be seen."""
POLL: Final = 0.1
"""Seconds between two looks at a node."""


class ClusterError(Exception):
    """The cluster did not do what was asked of it in time; `log` of the node tells more."""


class RealNode:
    """One process, its ports and its files."""

    def __init__(self, index: int, binary: Path, folder: Path, shutdown_period: int) -> None:
        self.index = index
        self.client_port, self.node_port, self.ws_port = free_ports(3)
        self.log = folder / f"node{index}.log"
        self._binary = binary
        self._data = folder / f"data{index}"
        self._modules = folder / f"modules{index}"
        self._shutdown_period = shutdown_period
        self._process: subprocess.Popen[bytes] | None = None
        self.is_ending = False
        """Whether it was told to end, and not started since."""

    @property
    def address(self) -> str:
        """Where clients connect to, as `Client.connection_info` shows it."""
        return f"{HOST}:{self.client_port}"

    @property
    def websocket(self) -> str:
        return f"ws://{HOST}:{self.ws_port}"

    @property
    def runs(self) -> bool:
        """Whether the process lives. A process that ended is reaped here: nodes take a zombie for alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, *arguments: str) -> None:
        if self.runs:
            raise ClusterError(f"node {self.index} runs already")
        for folder in (self._data, self._modules):
            folder.mkdir(exist_ok=True)
        self.is_ending = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash(), str(self._binary), "--log-level", "info", *arguments],
                env=self._environment(),
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this node's process."""
        if self._process is None or not self.runs:
            raise ClusterError(f"node {self.index} does not run; see {self.log}")
        self._process.send_signal(number)
        self.is_ending = self.is_ending or number in {signal.SIGTERM, signal.SIGKILL}

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait for the process to end; its exit code."""
        await until(lambda: not self.runs, f"the end of node {self.index}", timeout)
        assert self._process is not None
        return self._process.returncode

    def kill(self) -> None:
        """End it now, frozen or not, and reap it."""
        if self._process is not None and self.runs:
            self._process.kill()
            self._process.wait(10)

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("THINGSDB_")}
        settings = {
            "NODE_NAME": HOST,  # what the other nodes connect to
            "BIND_CLIENT_ADDR": HOST,
            "BIND_NODE_ADDR": HOST,
            "IP_SUPPORT": "IPV4ONLY",
            "LISTEN_CLIENT_PORT": self.client_port,
            "LISTEN_NODE_PORT": self.node_port,
            "WS_PORT": self.ws_port,
            "STORAGE_PATH": self._data,
            "MODULES_PATH": self._modules,
            "SHUTDOWN_PERIOD": self._shutdown_period,
        }
        return inherited | {f"THINGSDB_{key}": str(value) for key, value in settings.items()}


class RealCluster:
    """Nodes that were started here and end here.

    Args:
        binary: the ThingsDB node.
        folder: an empty folder for data and logs.
        size: how many nodes.
        shutdown_period: seconds that a node which got SIGTERM goes on answering.
    """

    def __init__(self, binary: Path, folder: Path, size: int = 3, shutdown_period: int = 2) -> None:
        self.auth = (USER, secrets.token_urlsafe(12))
        self.nodes = [RealNode(i, binary, folder, shutdown_period) for i in range(size)]

    def by_address(self, address: str) -> RealNode:
        """The node that listens there."""
        return next(node for node in self.nodes if node.address == address)

    async def start(self, timeout: float = 120.0) -> None:
        """Make a new cluster; about 20 s, which are the nodes' own.

        Raises:
            ClusterError: it is not there within `timeout` seconds. Nothing is left running.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._bootstrap()
        except TimeoutError:
            self.stop()
            raise ClusterError(f"no cluster within {timeout:g} s") from None
        except BaseException:
            self.stop()
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
        first, *others = self.nodes
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
        for node in others:
            secret = secrets.token_urlsafe(12)
            node.start("--secret", secret)
            await until(lambda n=node: listens(n.node_port), f"node {node.index} to listen", 20)
            await self._invite(node, secret)
        await self.settled()

    async def _invite(self, node: RealNode, secret: str) -> None:
        """Until it works: a cluster takes the next node only when it is connected to the one before."""

        async def invited() -> bool:
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

    async def _answers(self, node: RealNode, auth: Sequence[str]) -> None:
        async def answered() -> bool:
            if not node.runs:
                raise ClusterError(f"node {node.index} ended; see {node.log}")
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


async def until(condition: Any, what: Any, timeout: float = 30.0) -> None:
    """Look again and again until `condition`, plain or async, holds.

    Raises:
        ClusterError: it did not within `timeout` seconds; the message names `what`.
    """
    end = time.monotonic() + timeout
    while True:
        holds = condition()
        if await holds if asyncio.iscoroutine(holds) else holds:
            return
        if time.monotonic() > end:
            raise ClusterError(f"waited {timeout:g} s in vain for {what() if callable(what) else what}")
        await asyncio.sleep(POLL)


def listens(port: int) -> bool:
    """Whether something on loopback accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def leash() -> list[str]:
    """What makes a node end with the process that started it, however that ends. (util-linux)"""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]
