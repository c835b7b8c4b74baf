"""One ThingsDB node as a process on loopback."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .waiting import ClusterError, until

HOST: Final = "127.0.0.1"
LAST_LINES: Final = 10
"""Of a log in an error."""


class RealNode:
    """One process, its ports and its files."""

    def __init__(
        self, index: int, binary: Path, folder: Path, shutdown_period: int, ports: Sequence[int]
    ) -> None:
        self.index = index
        self.client_port, self.node_port, self.ws_port = ports
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

    def check(self) -> None:
        """Complain at once when it is to run and does not, rather than wait for it.

        Raises:
            ClusterError: with the end of its log, which may be deleted soon.
        """
        if not self.runs:
            raise ClusterError(f"node {self.index} ended; the last of {self.log}:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:])

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
