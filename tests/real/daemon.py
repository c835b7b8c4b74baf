"""The daemon as its users run it: by its command, in a process of its own, with a configuration file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from .node import leash
from .waiting import until

SECRET: Final = "TDBWATCH_REAL_SECRET"
"""The environment variable that the configuration takes the secret from."""


class JsonLines:
    """A growing file with one JSON object a line; `records` has all complete ones so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """Look for more; returns all records."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # the rest of it is still to come
                    self._offset += len(line)
                    self.records.append(self._parse(line))
        return self.records

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        assert isinstance(record, dict), f"a line is no JSON object, in\n{self.path.read_text()}"
        return record

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The records of a kind: `event`, `gap`, `room`, `node`."""
        return [record for record in self.read() if record.get("kind") == kind]


class DaemonProcess:
    """One `tdbwatch --config FILE`. Everything it writes is in `folder`.

    Args:
        folder: an empty folder.
        nodes: what to put under `thingsdb.nodes`.
        auth: user and password, or a token.
        thingsdb: more keys for the section `thingsdb`.
        rest: the other sections; `spool` and `logging` are added.
    """

    def __init__(
        self,
        folder: Path,
        nodes: Sequence[str],
        auth: Sequence[str],
        thingsdb: Mapping[str, Any],
        rest: Mapping[str, Any],
    ) -> None:
        secret = f"${{{SECRET}}}"
        login = {"token": secret} if len(auth) == 1 else {"username": auth[0], "password": secret}
        config = {
            "thingsdb": {"nodes": list(nodes), "auth": login, **thingsdb},
            "spool": {"path": str(folder / "spool.db")},
            "logging": {"format": "json"},
            **rest,
        }
        self.config = folder / "tdbwatch.yaml"
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))
        self.log = JsonLines(folder / "daemon.log")
        self.secret = auth[-1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until it says that it is ready."""
        self.launch()
        await until(self._is_ready, lambda: f"the daemon to be ready:\n{self.text()}", timeout)

    def launch(self) -> None:
        """Start it."""
        with self.log.path.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash(), sys.executable, "-m", "tdbwatch", "--config", str(self.config)],
                env=os.environ | {SECRET: self.secret},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self, timeout: float = 30.0) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await self.ended(timeout)

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait until it has ended; its exit code."""
        assert self._process is not None
        await until(lambda: not self._runs(), lambda: f"the daemon to end:\n{self.text()}", timeout)
        return self._process.returncode

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process is not None and self._runs():
            self._process.kill()
            self._process.wait(10)

    def text(self) -> str:
        """All that it wrote to its standard output and standard error."""
        return self.log.path.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Its log's lines of that text."""
        return [line for line in self.log.read() if line["event"] == event]

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _is_ready(self) -> bool:
        assert self._runs(), f"the daemon ended:\n{self.text()}"
        return bool(self.logged("daemon.ready"))


def in_use(journal: JsonLines) -> list[str]:
    """The nodes that the daemon is connected to, by what its node records say."""
    nodes: list[str] = []
    for record in journal.of_kind("node"):
        if record["event"] == "connected":
            nodes.append(record["node"])
        elif record["event"] == "disconnected" and record["node"] in nodes:
            nodes.remove(record["node"])
    return nodes
