"""Users' plugins in a running daemon: those that work, and those that do not."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.node import Cluster

GOOD = '''
from pathlib import Path
from tdbwatch.plugin import Event, sink

@sink("noter")
async def note(event: Event) -> None:
    """Notes what happens."""
    with Path("noted.txt").open("a") as file:
        file.write(f"{event.room} {event.event} {event.args}\\n")
'''
RAISES = """
from tdbwatch.plugin import hookimpl

@hookimpl
def tdbwatch_event(event):
    raise RuntimeError("I am the one who raises")
"""
EXITS = """
import threading
from tdbwatch.plugin import hookimpl

@hookimpl
def tdbwatch_event(event):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    raise SystemExit("I am the one who exits")
"""
BLOCKS = """
import time
from tdbwatch.plugin import hookimpl

@hookimpl
async def tdbwatch_events(batch):
    time.sleep(3600)
"""
HANGS = """
import asyncio
from tdbwatch.plugin import hookimpl

@hookimpl
async def tdbwatch_event(event):
    await asyncio.sleep(3600)
"""
THREADS = """
import asyncio
import threading
from tdbwatch.plugin import hookimpl

@hookimpl
async def tdbwatch_event(event):
    never = threading.Thread(target=threading.Event().wait)
    never.start()
    await asyncio.to_thread(never.join)
"""
SICK = {
    "raises": (RAISES, "I am the one who raises"),
    "exits": (EXITS, "it raised SystemExit"),
    "hangs": (HANGS, "no answer within 1 s"),
    "blocks": (BLOCKS, "it blocks"),
    "threads": (THREADS, "no answer within 1 s"),
}
"""What plugins do with an event, and what is said of them."""
MUTATES = """
from tdbwatch.plugin import sink

@sink("mutator")
def mutate(event):
    event.args.clear()
    event.record().clear()
"""
UNIMPORTABLE = """
import a_module_that_nobody_has
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Callable[..., Path]:
    def write(**sources: str) -> Path:
        folder = tmp_path / "plugins.d"
        folder.mkdir(mode=0o755)
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        return folder

    return write


def config_for(write_config: Any, folder: Path, **sinks: dict[str, Any]) -> Path:
    path: Path = write_config(
        plugins={"paths": [str(folder)]},
        sinks={
            "audit": {"type": "file", "path": str(folder.parent / "out" / "{room}.jsonl")},
            **sinks,
        },
        shutdown={"grace": "1s"},
    )
    return path


async def test_a_ten_line_plugin_gets_every_event_in_order(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugins: Any, tmp_path: Path
) -> None:
    config = config_for(write_config, plugins(noter=GOOD), mine={"type": "noter"})
    command = await start("--config", config)
    await command.ready()
    for number in range(20):
        cluster.emit("//stuff", "alerts", "counted", number)
    noted = tmp_path / "noted.txt"
    await until(lambda: noted.exists() and noted.read_text().count("\n") == 20, "all events")
    assert await command.stop() == 0
    assert noted.read_text().splitlines() == [f"alerts counted [{number}]" for number in range(20)]


async def test_sick_plugins_change_nothing_for_others_and_are_named_in_log_page_and_metrics(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugins: Any, lines: Any, tmp_path: Path
) -> None:
    """All at once: each has only itself to blame, and says so everywhere."""
    folder = plugins(
        noter=GOOD, mutates=MUTATES, missing=UNIMPORTABLE, **{n: code for n, (code, _) in SICK.items()}
    )
    retry = {"initial": "100ms", "max": "200ms"}
    sick = {name: {"retry": retry, "timeout": "1s"} for name in SICK}
    others = {"mine": {"type": "noter"}, "mutates": {"type": "mutator"}}
    config = config_for(write_config, folder, **others, **sick)
    config.write_text(json.dumps({**json.loads(config.read_text()), "http": {"listen": "127.0.0.1:0"}}))
    command = await start("--config", config)
    await command.ready()
    for number in range(20):
        cluster.emit("//stuff", "alerts", "counted", number)
    noted = tmp_path / "noted.txt"
    await until(lambda: noted.exists() and noted.read_text().count("\n") == 20, "the healthy plugin's events")
    await until(lambda: len(lines("alerts.jsonl")) == 20, "the file's events")
    for name, (_, said) in SICK.items():
        await until(
            lambda name=name, said=said: any(
                record.get("sink") == name and record.get("plugin") == name and said in json.dumps(record)
                for record in command.records()
            ),
            f"the log of {name}",
        )
    assert any("missing" in line and "a_module_that_nobody_has" in line for line in command.output)
    page, metrics = await asyncio.to_thread(shown, await command.url())
    for name, (_, said) in SICK.items():
        shows = "stuck" if name == "blocks" else said
        assert any(name in row and shows in unescape(row) for row in page.split("<tr")), name
        assert any(
            re.search(rf'^tdbwatch_sink_{sign}{{sink="{name}"}} {value}', metrics, re.MULTILINE)
            for sign, value in (("failures", "[1-9]"), ("up", "0"))
        ), name
    for name in ("audit", "mine", "mutates"):
        assert re.search(rf'^tdbwatch_sink_failures{{sink="{name}"}} 0(\.0)?$', metrics, re.MULTILINE), name
        assert re.search(rf'^tdbwatch_sink_up{{sink="{name}"}} 1(\.0)?$', metrics, re.MULTILINE), name
    assert await command.stop() == 0
    assert [record["args"] for record in lines("alerts.jsonl")] == [[number] for number in range(20)]


def shown(url: str) -> tuple[str, str]:
    """The page and the metrics."""
    texts = []
    for path in ("", "metrics"):
        with urllib.request.urlopen(url + path, timeout=20) as answer:
            texts.append(answer.read().decode())
    return texts[0], texts[1]


async def test_events_for_a_plugin_that_does_not_import_wait_until_it_is_mended(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugins: Any, lines: Any, tmp_path: Path
) -> None:
    folder = plugins(noter=UNIMPORTABLE)
    config = config_for(write_config, folder, mine={"type": "noter"})
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 1)
    await until(lambda: len(lines("alerts.jsonl")) == 1, "the file's event")
    assert await command.stop() == 0
    (folder / "noter.py").write_text(GOOD)
    command = await start("--config", config)
    await until((tmp_path / "noted.txt").exists, "the event that waited")
    assert await command.stop() == 0
    assert (tmp_path / "noted.txt").read_text().splitlines()[0] == "alerts counted [1]"


async def test_a_plugin_whose_thread_never_returns_does_not_keep_the_process_from_ending(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugins: Any
) -> None:
    source = """
import asyncio, time
from tdbwatch.plugin import sink

@sink("sleeper")
async def sleep(event):
    print("falling asleep", flush=True)
    await asyncio.to_thread(time.sleep, 3600)
"""
    config = config_for(write_config, plugins(sleeper=source), mine={"type": "sleeper"})
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 1)
    await until(lambda: "falling asleep" in command.text, "the plugin's call")
    assert await command.stop() == 0


async def test_a_plugin_that_hangs_keeps_neither_a_stop_nor_a_start_that_failed_from_ending(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugins: Any
) -> None:
    """The grace is longer than the deadline of all tests here, so that it cannot be waited for."""
    nodes = [node.address for node in cluster.nodes]
    retry = {"initial": "10ms", "max": "50ms"}
    sections: dict[str, Any] = {
        "plugins": {"paths": [str(plugins(culprit=BLOCKS))]},
        "sinks": {"culprit": {"timeout": "200ms", "retry": retry}},
        "shutdown": {"grace": "60s"},
    }
    command = await start("--config", write_config(**sections))
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 1)
    await until(lambda: command.said("sink.stuck"), "a stuck sink")
    assert await command.stop() == 0
    wrong = {"nodes": nodes, "auth": {"username": "admin", "password": "wrong"}}
    command = await start("--config", write_config(thingsdb=wrong, **sections))
    assert await command.exit_code() == 78
    assert command.said("sink.thread_abandoned")


async def test_a_plugins_own_metrics_are_shown(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugins: Any
) -> None:
    code = """
from tdbwatch.plugin import Sink, sink

@sink("counting")
class CountingSink(Sink):
    async def open(self):
        self.seen = self.context.metrics.counter("seen", "Events seen", ["name"])

    async def deliver(self, batch):
        for event in batch:
            self.seen.inc(name=event.event)
"""
    http = {"listen": "127.0.0.1:0"}
    config = config_for(write_config, plugins(counting=code), mine={"type": "counting"})
    config.write_text(json.dumps({**json.loads(config.read_text()), "http": http}))
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "disk-full", 1)
    url = await command.url()

    def shown() -> bool:
        with urllib.request.urlopen(url + "metrics", timeout=20) as answer:
            return b'tdbwatch_plugin_seen_total{name="disk-full",sink="mine"} 1.0' in answer.read()

    async with asyncio.timeout(20):
        while not await asyncio.to_thread(shown):
            await asyncio.sleep(0.05)
    assert await command.stop() == 0
