"""Delivery through the real commands: poison, dead letters, requeue, replay, sinks that are down."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tdbwatch.daemon.spool import Attempt
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.node import Cluster

Ask = Callable[..., Awaitable[tuple[int, str]]]

PLUGINS = {
    "picky": """
from pathlib import Path
from tdbwatch.plugin import Event, sink

@sink("picky")
def picky(event: Event) -> None:
    if event.args == ["poison"] and not Path("mended").exists():
        raise ValueError("cannot digest this")
    with Path("picky.txt").open("a") as file:
        file.write(f"{event.id} {event.args[0]}\\n")
""",
    "raiser": """
from tdbwatch.plugin import sink

@sink("raiser")
def fail(event):
    raise RuntimeError("always")
""",
    "killer": """
import os, signal, time
from pathlib import Path
from tdbwatch.daemon.couriers import unended
from tdbwatch.plugin import Event, sink

unended._LIFE = 0.3  # seconds of life without the event before it is tried again

@sink("killer")
def killer(event: Event) -> None:
    if event.args == ["killer"]:
        while not Path("all-heard").exists():  # what the daemon has not heard when it is killed is lost
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    with Path("killer.txt").open("a") as file:
        file.write(f"{event.args[0]}\\n")
""",
    "blocker": """
import time
from tdbwatch.plugin import sink

@sink("blocker")
async def block(event):
    time.sleep(3600)
""",
}


@pytest.fixture
def plugin_folder(tmp_path: Path) -> str:
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)
    for name, source in PLUGINS.items():
        (folder / f"{name}.py").write_text(source)
    return str(folder)


@pytest.fixture
def ask(start: Any) -> Ask:
    """Run a command to its end; its exit code and what it printed."""

    async def run(*args: str | Path) -> tuple[int, str]:
        command = await start(*args)
        return await command.exit_code(), command.text

    return run


@pytest.fixture
def picky(tmp_path: Path) -> Callable[[], list[list[str]]]:
    """(id, argument) of everything that the picky sink has taken."""
    path = tmp_path / "picky.txt"
    return lambda: [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def picky_sink(**settings: Any) -> dict[str, Any]:
    return {"type": "picky", "retry": {"initial": "10ms", "max": "20ms", "max_attempts": 3}, **settings}


class Receiver:
    """A webhook's receiver that is gone, until it is mended."""

    def __init__(self) -> None:
        self.gone = True
        self.asked = 0
        self.taken: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.json()
        if not self.gone:
            self.taken.append(body["args"][0])
        return web.Response(status=410 if self.gone else 204)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made, application = Receiver(), web.Application()
    application.router.add_post("/", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def dead(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def attempts(spool: Path, event_id: str) -> Sequence[Attempt]:
    with opened(spool) as look:
        return look.story(event_id).attempts


async def test_poison_is_set_aside_what_is_behind_it_flows_and_requeue_delivers_it_once_mended(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugin_folder: str, ask: Ask, picky: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = write_config(plugins={"paths": [plugin_folder]}, sinks={"mine": picky_sink()})
    command = await start("--config", config)
    await command.ready()
    for argument in (1, 2, "poison", 3, 4):
        cluster.emit("//stuff", "alerts", "counted", argument)
    await until(lambda: [arg for _, arg in picky()] == ["1", "2", "3", "4"], "what is behind")

    code, text = await ask("spool", "list", "--dead", "--json", "--config", config)
    [letter] = dead(text)
    assert code == 0
    assert letter["args"] == ["poison"]
    assert letter["dead_letter"]["attempts"] == 3
    assert letter["dead_letter"]["last_error"] == "ValueError: cannot digest this"

    code, text = await ask("spool", "show", letter["id"], "--config", config)
    assert code == 0
    assert "mine: dead letter: gave up after 3 attempts" in text
    assert text.count("ValueError: cannot digest this") == 3

    (tmp_path / "mended").touch()
    code, text = await ask("spool", "requeue", "--sink", "mine", "--config", config)
    assert (code, text) == (
        0,
        "mine: 1 dead letter will be delivered again within about a second,"
        f" by process {command.process.pid}\n",
    )
    await until(lambda: picky()[4:] == [[letter["id"], "poison"]], "the mended event, with its id")
    spool = tmp_path / "spool.db"
    await until(lambda: attempts(spool, letter["id"])[-1].outcome == "delivered", "the attempt, written down")
    code, text = await ask("spool", "show", letter["id"], "--config", config)
    assert "mine: delivered" in text
    assert await ask("spool", "list", "--dead", "--config", config) == (0, "no dead letter matches\n")
    assert await command.stop() == 0


async def test_an_event_that_kills_the_daemon_becomes_a_dead_letter_and_all_others_are_delivered(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugin_folder: str, ask: Ask, lines: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = write_config(
        plugins={"paths": [plugin_folder]},
        sinks={
            "mine": {"type": "killer", "batch": {"count": 1}},
            "file": {"type": "file", "path": str(tmp_path / "out" / "written.jsonl")},
        },
    )
    command = await start("--config", config)
    await command.ready()
    for argument in (1, 2, "killer", 3, 4):
        cluster.emit("//stuff", "alerts", "counted", argument)

    def written() -> list[Any]:
        return [record["args"][0] for record in lines("written.jsonl") if record["kind"] == "event"]

    await until(lambda: len(written()) == 5, "all in the other sink")
    (tmp_path / "all-heard").touch()
    taken = tmp_path / "killer.txt"

    def others() -> bool:
        return taken.exists() and "4" in taken.read_text().split()

    starts = 0
    while not others():
        ended = asyncio.ensure_future(command.process.wait())
        await until(lambda ended=ended: ended.done() or others(), "killed, or all others delivered")
        if ended.done():
            starts += 1
            assert starts <= 5, "a few restarts"
            command = await start("--config", config)
        else:
            ended.cancel()
    assert set(taken.read_text().split()) == {"1", "2", "3", "4"}

    _, text = await ask("spool", "list", "--dead", "--json", "--config", config)
    [letter] = dead(text)
    assert letter["args"] == ["killer"]
    assert letter["dead_letter"]["sink"] == "mine"
    assert "3 times while only this event was being delivered" in letter["dead_letter"]["reason"]
    assert set(written()) == {1, 2, "killer", 3, 4}
    assert await command.stop() == 0


async def test_what_is_asked_while_no_daemon_runs_is_done_when_one_does(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugin_folder: str, ask: Ask, picky: Any,
    lines: Any, tmp_path: Path,
) -> None:  # fmt: skip
    sinks = {
        "mine": picky_sink(),
        "audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")},
    }
    routes = [{"match": {"event": "counted"}, "to": ["mine"]}, {"to": ["audit"]}]
    config = write_config(plugins={"paths": [plugin_folder]}, sinks=sinks, routes=routes)
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", "poison")
    cluster.emit("//stuff", "alerts", "other", "5")
    cluster.emit("//stuff", "alerts", "counted", "6")
    await until(lambda: len(picky()) == 1 and len(lines("alerts.jsonl")) == 3, "delivery")
    assert await command.stop() == 0
    before = lines("alerts.jsonl")

    (tmp_path / "mended").touch()
    code, text = await ask("spool", "requeue", "--all", "--config", config)
    assert (code, text) == (0, "mine: 1 dead letter will be delivered again when the daemon runs\n")
    code, text = await ask("replay", "--sink", "mine", "--room", "al*", "--config", config)
    assert code == 0
    assert (
        text
        == "of 4 records, those that the routes send there will be delivered again when the daemon runs\n"
    )

    command = await start("--config", config)
    await command.ready()
    await until(lambda: len(picky()) == 4, "both")
    assert [arg for _, arg in picky()] == ["6", "poison", "poison", "6"], "routes apply to a replay"
    assert await command.stop() == 0
    again = [record for record in lines("alerts.jsonl") if record["kind"] == "event"]
    assert again == before, "the other sink sees nothing of it"


async def test_three_sick_sinks_and_the_fourth_gets_everything(
    start: Any, until: Any, cluster: Cluster, write_config: Any, plugin_folder: str, ask: Ask, lines: Any,
    tmp_path: Path, closed_port: int,
) -> None:  # fmt: skip
    retry = {"initial": "10ms", "max": "1s"}
    sinks = {
        "down": {"type": "webhook", "url": f"http://127.0.0.1:{closed_port}/", "retry": retry},
        "raises": {"type": "raiser", "retry": retry | {"max_attempts": 3}},
        "hangs": {"type": "blocker", "retry": retry, "timeout": "200ms"},
        "audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")},
    }
    config = write_config(plugins={"paths": [plugin_folder]}, sinks=sinks, shutdown={"grace": "500ms"})
    command = await start("--config", config)
    await command.ready()
    for number in range(500):
        cluster.emit("//stuff", "alerts", "counted", number)
        if number % 50 == 0:
            await asyncio.sleep(0.05)
    await until(lambda: len(lines("alerts.jsonl")) == 500, "all events in the healthy sink")
    code, text = await ask("spool", "stats", "--json", "--config", config)
    state = {sink["sink"]: sink for sink in json.loads(text)["sinks"]}
    assert code == 0
    assert state["down"]["behind"] >= 500 <= state["hangs"]["behind"]
    assert await command.stop() == 0
    assert [record["args"][0] for record in lines("alerts.jsonl")] == list(range(500))


async def test_a_receiver_that_was_gone_and_is_mended_gets_its_events_by_a_replay_without_a_restart(
    start: Any, until: Any, cluster: Cluster, write_config: Any, ask: Ask, receiver: tuple[Receiver, str]
) -> None:
    gone, url = receiver
    config = write_config(sinks={"hook": {"type": "webhook", "url": url, "batch": {"count": 1}}})
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", "waits")
    await until(lambda: command.said("sink.paused"), "the pause")
    gone.gone = False
    code, text = await ask("replay", "--sink", "hook", "--since", "1m", "--config", config)
    assert code == 0, text
    await until(lambda: gone.taken == ["waits", "waits"], "the event that waited, and its replay")
    assert await command.stop() == 0
    assert gone.asked == 3


async def test_routes_take_events_by_what_they_hold_and_give_them_fields(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, tmp_path: Path
) -> None:
    """Across a restart and for what is delivered again, too."""
    severe = {"type": "file", "path": str(tmp_path / "out" / "severe.jsonl")}
    every = {"type": "file", "path": str(tmp_path / "out" / "every.jsonl")}
    routes = [
        {"match": {"room": "alerts"}, "to": ["every"], "set": {"host": "args[0].host"}},
        {"where": "args[0].severity >= 4", "set": {"title": "'! ' + fields.host"}, "to": ["severe"]},
    ]
    config = write_config(sinks={"every": every, "severe": severe}, routes=routes)
    command = await start("--config", config)
    await command.ready()
    for number in range(10):
        cluster.emit("//stuff", "alerts", "load", {"host": f"h{number}", "severity": number})
    await until(lambda: len(lines("every.jsonl")) == 10 and len(lines("severe.jsonl")) == 6, "all events")
    assert [record["fields"] for record in lines("every.jsonl")] == [{"host": f"h{n}"} for n in range(10)]
    again = await start("replay", "--sink", "severe", "--since", "1h", "--config", config)
    assert await again.exit_code() == 0, again.text
    await until(lambda: len(lines("severe.jsonl")) == 12, "what is delivered again")
    assert await command.stop() == 0
    fields = [{"host": f"h{n}", "title": f"! h{n}"} for n in range(4, 10)]
    assert [record["fields"] for record in lines("severe.jsonl")] == fields * 2
    stats = await start("spool", "stats", "--config", config, "--json")
    assert await stats.exit_code() == 0
    assert {sink["sink"]: sink["behind"] for sink in json.loads(stats.text)["sinks"]} == {
        "every": 0,
        "severe": 0,
    }


async def test_dead_letters_and_sinks_that_fail_are_records_that_routes_send_elsewhere(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins.d"
    plugins.mkdir(mode=0o755)
    (plugins / "picky.py").write_text(
        "from pathlib import Path\nfrom tdbwatch.plugin import *\n\n@hookimpl\ndef tdbwatch_event(event):\n"
        "    if event.event == 'bad': return Rejected('no such thing')\n"
        "    if Path('sick').exists(): raise RuntimeError('it is sick')\n"
    )
    fallback = {"type": "file", "path": str(tmp_path / "out" / "fallback.jsonl")}
    routes = [
        {"match": {"room": "alerts"}, "to": ["picky"]},
        {"match": {"kind": ["dead_letter", "sink"]}, "to": ["fallback"]},
    ]
    sinks = {"picky": {"retry": {"initial": "10ms", "max": "20ms"}}, "fallback": fallback}
    config = write_config(sinks=sinks, routes=routes, plugins={"paths": ["plugins.d"]})
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "bad", {"n": 1})
    await until(lambda: len(lines("fallback.jsonl")) == 1, "the record of the dead letter")
    (dead,) = lines("fallback.jsonl")
    assert (dead["kind"], dead["room"], dead["event"]) == ("dead_letter", "alerts", "bad")
    assert (dead["sink"], dead["reason"], dead["attempts"]) == ("picky", "no such thing", 1)
    assert dead["record"]["args"] == [{"n": 1}]
    assert dead["record"]["id"] == dead["event_id"]
    (tmp_path / "sick").touch()
    cluster.emit("//stuff", "alerts", "good", 2)
    await until(lambda: len(lines("fallback.jsonl")) == 2, "that the sink fails")
    (tmp_path / "sick").unlink()
    await until(lambda: len(lines("fallback.jsonl")) == 3, "that it has recovered")
    assert await command.stop() == 0
    states = [(record["kind"], record["sink"], record["state"]) for record in lines("fallback.jsonl")[1:]]
    assert states == [("sink", "picky", "failing"), ("sink", "picky", "recovered")]
    assert "it is sick" in lines("fallback.jsonl")[1]["reason"]


async def test_a_throttle_lets_no_more_through_however_often_the_daemon_is_killed(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, tmp_path: Path
) -> None:
    few = {"type": "file", "path": str(tmp_path / "out" / "few.jsonl")}
    every = {"type": "file", "path": str(tmp_path / "out" / "every.jsonl")}
    routes = [
        {"match": {"room": "alerts"}, "throttle": {"count": 5, "per": "1h", "key": "args[0]"}, "to": ["few"]},
        {"match": {"room": "alerts"}, "to": ["every"]},
    ]
    config = write_config(sinks={"few": few, "every": every}, routes=routes)
    for life in range(4):
        command = await start("--config", config)
        await command.ready()
        for number in range(life * 3, life * 3 + 3):
            for key in ("k", "j"):
                cluster.emit("//stuff", "alerts", "x", key, number)
        heard = {(key, number) for number in range(life * 3, life * 3 + 3) for key in ("k", "j")}
        await until(
            lambda heard=heard: heard <= {tuple(record["args"]) for record in lines("every.jsonl")},
            "all of this life's events",
        )
        if life < 3:
            command.signal(signal.SIGKILL)
            await command.exit_code()
    await until(lambda: len({record["id"] for record in lines("few.jsonl")}) >= 10, "what is let through")
    assert await command.stop() == 0
    passed = sorted({(record["id"], *record["args"]) for record in lines("few.jsonl")})
    assert [args for _, *args in passed] == [[key, number] for number in range(5) for key in ("k", "j")]
