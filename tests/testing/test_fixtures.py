"""The fixtures for authors of plugins."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tdbwatch import __version__
from tdbwatch.client import Client
from tdbwatch.daemon.config import ConfigError
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.plugin import Event, Retry, SinkContext, SinkStore, hookimpl, sink
from tdbwatch.testing import ManualClock, RunningDaemon, SinkConformance, deliver
from tdbwatch.testing.running import EmbeddedNode

Start = Callable[..., RunningDaemon]


def test_a_daemon_brings_what_the_node_emits_to_an_installed_sink(
    running_daemon: Start, tmp_path: Path
) -> None:
    daemon = running_daemon({"sinks": {"audit": {"type": "file", "path": str(tmp_path / "{room}.jsonl")}}})
    for number in range(50):
        daemon.emit("disk-full", number)
    daemon.drained()
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["args"] for line in lines] == [[number] for number in range(50)]
    assert (daemon.sink("audit").counts.delivered, daemon.sink("audit").lag) == (50, 0)


def test_sinks_of_the_test_are_given_beside_the_configuration(running_daemon: Start) -> None:
    heard: list[str] = []

    @sink("mine")
    def mine(event: Event) -> None:
        heard.append(f"mine {event.event}")

    @hookimpl
    def tdbwatch_event(event: Event) -> None:
        heard.append(f"hook {event.event}")

    daemon = running_daemon({"sinks": {"first": {"type": "mine"}}}, mine, tdbwatch_event)
    daemon.emit("boom")
    daemon.drained()
    assert sorted(heard) == ["hook boom", "mine boom"]


def test_after_a_restart_it_goes_on_with_the_same_spool(running_daemon: Start) -> None:
    fails, heard = [True], []

    @sink("mine")
    def mine(event: Event) -> None:
        if fails:
            raise ConnectionError("not now")
        heard.append((event.kind, event.args))

    daemon = running_daemon({"sinks": {"mine": {"type": "mine"}}}, mine)
    daemon.emit("boom", 1)
    daemon.heard()
    daemon.stop()
    fails.clear()
    daemon.start()
    daemon.drained()
    assert heard == [("event", [1]), ("gap", [])]


async def test_an_async_test_may_serve_the_sink_itself(running_daemon: Start) -> None:
    loop, served = asyncio.get_running_loop(), []

    async def serve(event: Event) -> None:
        served.append(event.event)

    @sink("mine")
    def mine(event: Event) -> None:
        asyncio.run_coroutine_threadsafe(serve(event), loop).result(20)

    daemon = running_daemon({"sinks": {"mine": {"type": "mine"}}}, mine)
    daemon.emit("boom")
    await asyncio.to_thread(daemon.drained)
    assert served == ["boom"]


def test_a_sink_that_does_not_deliver_keeps_nobody_waiting_for_ever(running_daemon: Start) -> None:
    @sink("mine")
    def mine(event: Event) -> Retry:
        return Retry("the door is shut")

    daemon = running_daemon({"sinks": {"mine": {"type": "mine"}}}, mine)
    daemon.emit("boom")
    with pytest.raises(TimeoutError):
        daemon.drained(0.2)
    daemon.heard()
    assert daemon.sink("mine").lag == 1


def test_a_daemon_that_cannot_start_says_why_and_is_stopped(running_daemon: Start, tmp_path: Path) -> None:
    first = running_daemon({"sinks": {"all": {"type": "log"}}})
    with pytest.raises(SpoolError, match="holds"):
        running_daemon(
            {"sinks": {"all": {"type": "log"}}, "spool": {"path": str(tmp_path / "daemon/spool.db")}}
        )
    first.emit("boom")
    first.drained()
    assert first.sink("all").counts.delivered == 1


def test_a_mistake_in_the_configuration_is_told(running_daemon: Start) -> None:
    with pytest.raises(ConfigError, match="pth"):
        running_daemon({"sinks": {"audit": {"type": "file", "pth": "x"}}})


async def test_the_node_serves_any_client(embedded_node: EmbeddedNode) -> None:
    host, port = embedded_node.address.split(":")
    client = Client()
    await client.connect(host, int(port))
    await client.authenticate("admin", "pass")
    embedded_node.call(lambda cluster: cluster.on_query("6 * 7", 42))
    assert await client.query("6 * 7") == 42
    await client.close_and_wait()


def test_events_and_clocks_are_there(event: Any, manual_clock: ManualClock) -> None:
    times = []

    @sink("mine")
    def mine(one: Event) -> None:
        times.append((one.args, manual_clock.time()))

    deliver(mine, event("alerts", "boom", [1]), clock=manual_clock)
    assert times == [([1], manual_clock.time())]


def test_a_stopped_node_leaves_its_port(embedded_node: EmbeddedNode) -> None:
    host, port = embedded_node.address.split(":")
    embedded_node.stop()
    with socket.socket() as mine:
        mine.bind((host, int(port)))


def test_neither_the_daemon_nor_the_tools_import_pytest() -> None:
    code = (
        "import sys, tdbwatch.testing, tdbwatch.testing.conformance, tdbwatch.testing.running,"
        " tdbwatch.daemon.supervisor, tdbwatch.cli.app; print('pytest' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "False\n"


def test_what_a_sink_keeps_and_asks_can_be_given_to_it(embedded_node: EmbeddedNode) -> None:
    store = SinkStore()

    @sink("asks")
    async def asks(event: Event, context: SinkContext) -> None:
        context.store.set(event.event, await context.client.query("nil"))
        await context.client.emit("alerts", "seen", event.event)

    embedded_node.call(lambda cluster: cluster.on_query("nil", 7))
    deliver(asks, Event.create(event="boom"), client=embedded_node.client(), store=store)
    assert store.items() == [("boom", 7)]
    executed = [one.kind.name for one in embedded_node.cluster.log]
    assert executed.count("EMIT") == 1


def test_a_reload_takes_up_other_sections(running_daemon: Start) -> None:
    heard = []

    @sink("mine")
    def mine(event: Event) -> None:
        heard.append(event.event)

    daemon = running_daemon({"sinks": {"first": {"type": "mine"}}}, mine)
    assert not daemon.reload(sinks={"first": {"type": "nobody's"}}).accepted
    assert daemon.reload(sinks={"second": {"type": "mine"}}).accepted
    daemon.emit("boom")
    daemon.drained()
    assert (heard, daemon.sink("second").counts.delivered) == (["boom"], 1)


class TestAsks(SinkConformance):
    """A sink that keeps and asks is put through the kit with a node of its own."""

    @staticmethod
    @sink("asks")
    async def asks(event: Event, context: SinkContext) -> None:
        seen = context.store.get("seen", [])[-50:]
        context.store.set("seen", [*seen, event.id])
        await context.client.query("nil")

    sink = asks

    @pytest.fixture(autouse=True)
    def _node(self, embedded_node: EmbeddedNode) -> None:
        self.client = embedded_node.client()


def test_of_a_module_all_hooks_are_taken(running_daemon: Start) -> None:
    geo = ModuleType("geo")
    code = """
from tdbwatch.plugin import Options, hookimpl
started = []
class GeoOptions(Options):
    owner: str
@hookimpl
def tdbwatch_config(options: GeoOptions):
    started.append(options.owner)
@hookimpl
def tdbwatch_started(version):
    started.append(version)
def owner() -> str:
    return started[0]
@hookimpl
def tdbwatch_functions():
    return {"owner": owner}
"""
    sys.modules["geo"] = geo  # where a model's module is looked up
    exec(code, geo.__dict__)
    heard = []

    @sink("mine")
    def mine(event: Event) -> None:
        heard.append(event.fields)

    daemon = running_daemon(
        {
            "sinks": {"mine": {"type": "mine"}},
            "routes": [{"set": {"owner": "owner()"}, "to": ["mine"]}],
            "plugins": {"options": {"geo": {"owner": "ann"}}},
        },
        geo,
        mine,
    )
    daemon.emit("boom")
    daemon.drained()
    del sys.modules["geo"]
    assert heard == [{"owner": "ann"}]
    assert geo.started == ["ann", __version__]
