"""The notify socket of systemd, played here: what it hears of a daemon's whole life, datagram by datagram."""

import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.config import Config, load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.daemon.system.systemd import Notifier
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock


class Systemd:
    """Reads what the service says. Each datagram is one message of lines `NAME=value`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "20000000"}

    def heard(self) -> list[str]:
        """What was said since the last time."""
        found: list[str] = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(1) as made:
        made.add_room("//stuff", "alerts")
        yield made


@pytest.fixture
def config(tmp_path: Path, cluster: Cluster) -> Any:
    sections = {
        "thingsdb": {"nodes": [cluster.nodes[0].address], "auth": {"username": "admin", "password": "pass"}},
        "rooms": ["alerts"],
        "sinks": {"console": {"type": "log"}},
        "spool": {"path": str(tmp_path / "spool.db")},
        "shutdown": {"grace": "500ms"},
    }
    file = tmp_path / "watch.yaml"
    file.write_text(json.dumps(sections))
    return file


def monotonic_us() -> int:
    """What systemd compares with: a time before its own signal is of another reload."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000


def daemon_of(config: Path, environ: dict[str, str]) -> tuple[Daemon, ManualClock]:
    registry, clock = load_plugins((), ()), ManualClock()

    def read() -> Config:
        return load(config, registry.sink_types)

    return Daemon(read(), registry, clock=clock, notifier=Notifier(environ), read=read), clock


async def test_what_it_hears_from_the_start_to_the_stop(
    systemd: Systemd, config: Path, cluster: Cluster
) -> None:
    daemon, clock = daemon_of(config, systemd.environ | {"WATCHDOG_PID": str(os.getpid())})
    try:
        await daemon.start()
        ready = f"STATUS=ready: connected to {cluster.nodes[0].address}; 1 of 1 room joined"
        starting = "STATUS=starting: connecting to ThingsDB"
        assert systemd.heard() == [starting, "WATCHDOG=1", f"READY=1\n{ready}", ready]

        await clock.advance(9.5)
        assert systemd.heard() == []
        await clock.advance(1)
        assert systemd.heard() == ["WATCHDOG=1"], "in half of the time that it allows"

        fine = config.read_text()
        refused = f"{ready}; needs a look: Reload"
        for text, told in (
            (fine.replace("console", "shown"), [f"READY=1\n{ready}"]),
            ("nonsense: 1\n", [refused, f"READY=1\n{refused}"]),
        ):
            config.write_text(text)
            before = monotonic_us()
            await daemon.reload()
            begun, *rest = systemd.heard()
            time_us = int(begun.removeprefix("RELOADING=1\nMONOTONIC_USEC="))
            assert before <= time_us <= monotonic_us()
            assert rest == told
    finally:
        await daemon.stop()
    await clock.advance(60)
    assert systemd.heard() == ["STOPPING=1\nSTATUS=stopping"], "the last that it hears"


async def test_signs_of_life_that_are_wanted_of_another_process_are_not_given(
    systemd: Systemd, config: Path
) -> None:
    daemon, clock = daemon_of(config, systemd.environ | {"WATCHDOG_PID": "1"})
    try:
        await daemon.start()
        await clock.advance(60)
    finally:
        await daemon.stop()
    assert not any("WATCHDOG" in message for message in systemd.heard())


async def test_the_watchdog_starves_when_a_part_makes_no_progress(
    systemd: Systemd, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, clock = daemon_of(config, systemd.environ)
    try:
        await daemon.start()
        monkeypatch.setattr(type(daemon.spool), "turns", 7)
        signs = []
        for _ in range(40):
            signs.append("WATCHDOG=1" in systemd.heard())
            await clock.advance(10)
        assert signs == [True] * 31 + [False] * 9, "five minutes of patience"
    finally:
        await daemon.stop()
