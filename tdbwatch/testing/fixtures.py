"""The fixtures, as a pytest plugin: `pytest_plugins = ["tdbwatch.testing.fixtures"]` in `conftest.py`.

No entry point loads it: it would import tdbwatch in every run of pytest where tdbwatch is installed, and give
fixtures with common names to the tests of people who only use the connector.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from tdbwatch.plugin import Event
from tdbwatch.testing.background import BackgroundLoop
from tdbwatch.testing.clock import ManualClock
from tdbwatch.testing.running import EmbeddedNode, RunningDaemon
from tdbwatch.testing.sinks import make_event


class StartDaemon(Protocol):
    """Starts a daemon; see `RunningDaemon`."""

    def __call__(self, config: Mapping[str, Any], *plugins: object) -> RunningDaemon: ...


@pytest.fixture
def event() -> Callable[..., Event]:
    """Makes events as tdbwatch does: `event("alerts", "disk-full", ["db1", 91])`."""
    return make_event


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that stands still until the test turns it; give it as `clock=`."""
    return ManualClock()


@pytest.fixture
def embedded_node() -> Iterator[EmbeddedNode]:
    """An embedded node with the room `alerts`, on a port of its own."""
    with BackgroundLoop() as background:
        node = EmbeddedNode(background)
        yield node
        node.stop()


@pytest.fixture
def running_daemon(tmp_path: Path, embedded_node: EmbeddedNode) -> Iterator[StartDaemon]:
    """Starts the daemon on a spool in `tmp_path`, connected to `embedded_node`; stops it at the end."""
    started: list[RunningDaemon] = []

    def start(config: Mapping[str, Any], *plugins: object) -> RunningDaemon:
        folder = tmp_path / f"daemon{len(started) or ''}"
        folder.mkdir()
        daemon = RunningDaemon(config, plugins, folder, embedded_node)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.stop()
