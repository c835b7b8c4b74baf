"""The whole daemon on real nodes: rooms in two collections, three sinks, and the node in use goes away."""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from .daemon import JsonLines, in_use
from .waiting import until

pytestmark = pytest.mark.real

CALM = 200
"""Events emitted before the fault, and after it is over."""
EVERYTHING = {"kind": ["event", "gap", "room", "node"]}


class Hook:
    """A real HTTP server that keeps every record it is sent."""

    def __init__(self):
        self.records = []
        self.url = ""

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _take(self, request):
        self.records.append(await request.json())
        return web.Response(status=204)


@dataclass
class Emitting:
    """Emits numbered events to every room in turn, by a query and by a client in turn."""

    client: object
    rooms: list
    """(name in records, room)."""
    sent: list = field(default_factory=list)
    """(scope, name in records, number)."""

    async def emit(self, count=1):
        """Returns what was sent now."""
        start = len(self.sent)
        for n in range(start, start + count):
            name, room = self.rooms[n % len(self.rooms)]
            if n // len(self.rooms) % 2:
                code = "room(id).emit('tick', n);"
                await self.client.query(code, scope=room.scope, timeout=20, id=room.id, n=n)
            else:
                await self.client.emit(room.id, "tick", n, scope=room.scope, timeout=20)
            self.sent.append((room.scope, name, n))
        return self.sent[start:]


@pytest.fixture
async def hook():
    async with Hook() as hook:
        yield hook


@pytest.fixture
async def rooms(watcher, emitter, new_room, twins):
    """Rooms by name, id and code, in two collections, two of them with one id."""
    one, other = await twins(watcher)
    by_id, by_code = await new_room(watcher), await new_room(watcher, scope=other.scope)
    return {"twin": one, "other-twin": other, "by-id": by_id, "by-code": by_code}


@pytest.fixture
def watch(daemon, rooms, hook, tmp_path):
    """Make a daemon that watches the rooms; its sinks: log, file, webhook, and a journal of everything."""

    def watch(**thingsdb):
        one, other, by_id, by_code = rooms.values()
        return daemon(
            {"scope": one.scope, **thingsdb},
            rooms=[
                {"name": one.name, "as": "twin"},
                {"name": other.name, "scope": other.scope, "as": "other-twin"},
                {"id": by_id.id, "as": "by-id"},
                {"code": f".{by_code.name}.id();", "scope": by_code.scope, "as": "by-code"},
            ],
            sinks={
                "console": {"type": "log"},
                "audit": {"type": "file", "path": str(tmp_path / "audit.jsonl")},
                "hook": {"type": "webhook", "url": hook.url},
                "journal": {"type": "file", "path": str(tmp_path / "journal.jsonl")},
            },
            routes=[{"to": ["console", "audit", "hook"]}, {"match": EVERYTHING, "to": ["journal"]}],
        )

    return watch


@pytest.fixture
def sinks(hook, tmp_path):
    """What each sink has got so far, as a function: its name -> [(scope, room, number)]."""
    audit, log = JsonLines(tmp_path / "audit.jsonl"), JsonLines(tmp_path / "daemon.log")

    def sinks():
        lines = [line for line in log.read() if line.get("sink") == "console" and line.get("kind") == "event"]
        got = {"log": lines, "file": audit.read(), "webhook": hook.records}
        return {
            sink: [(r["scope"], r["room"], r["args"][0]) for r in records] for sink, records in got.items()
        }

    return sinks


async def test_events_of_queries_and_clients_reach_log_file_and_webhook(watch, rooms, emitter, sinks, figure):
    daemon, emitting = watch(), Emitting(emitter, list(rooms.items()))
    await daemon.start()

    sent = await emitting.emit(CALM)
    await until(lambda: all(set(sent) <= set(got) for got in sinks().values()), "every event in every sink")
    assert await daemon.stop() == 0

    assert {sink: Counter(got) for sink, got in sinks().items()} == {sink: Counter(sent) for sink in sinks()}
    assert all(in_room_order(got) for got in sinks().values())
    assert daemon.secret not in daemon.text()
    figure("log, file and webhook", f"{len(sent)} of {len(sent)} each, 0 doubled")


async def test_a_refused_login_ends_the_daemon_and_names_the_node_and_not_the_secret(watch, target):
    daemon = watch()
    daemon.secret = "wr0ng-passw0rd"

    daemon.launch()
    assert await daemon.ended() == os.EX_CONFIG

    assert any(node in daemon.text() for node in target.nodes)
    assert daemon.secret not in daemon.text()
    assert "Traceback" not in daemon.text()


@pytest.mark.parametrize("thingsdb", [{"connections": 1}, {}], ids=["one-connection", "default"])
async def test_events_flow_again_after_a_node_in_use_gets_sigterm(
    thingsdb, cluster, watch, rooms, connect, sinks, figure, tmp_path
):
    daemon = watch(**thingsdb)
    wanted = thingsdb.get("connections", 2)
    await daemon.start()
    journal = JsonLines(tmp_path / "journal.jsonl")
    await until(lambda: len(in_use(journal)) == wanted, "the connections")
    used, *_ = in_use(journal)
    emitter = await connect(next(n.address for n in cluster.nodes if n.address not in in_use(journal)))
    emitting = Emitting(emitter, list(rooms.items()))

    before = await emitting.emit(CALM)
    await until(lambda: all(set(before) <= set(got) for got in sinks().values()), "the events before")
    cluster.by_address(used).signal(signal.SIGTERM)
    meanwhile = await emit_until_every_room_is_heard_again(emitting, cluster.by_address(used), sinks)
    after = await emitting.emit(CALM)
    await until(lambda: all(set(after) <= set(got) for got in sinks().values()), "the events after")
    assert await daemon.stop() == 0

    report(sinks(), before, meanwhile, after, journal, figure)
    due = before + after if wanted == 1 else before + meanwhile + after
    assert all(set(due) <= set(got) for got in sinks().values())
    assert all(len(got) == len(set(got)) for got in sinks().values()), "a sink got an event twice"
    assert len({frozenset(got) for got in sinks().values()}) == 1, "a sink got less than another one"
    assert daemon.secret not in daemon.text()


async def emit_until_every_room_is_heard_again(emitting, leaving, sinks, timeout=60):
    """Emit until the node has ended, and each room was heard since then."""
    sent, since = [], None
    async with asyncio.timeout(timeout):
        while since is None or len({room for _, room, n in sinks()["file"] if n >= since}) < len(
            emitting.rooms
        ):
            sent += await emitting.emit(len(emitting.rooms))
            if since is None and not leaving.runs:
                since = len(emitting.sent)
            await asyncio.sleep(0.02)
    return sent


def report(sinks, before, meanwhile, after, journal, figure):
    for sink, got in sinks.items():
        arrived, doubled = set(got), len(got) - len(set(got))
        parts = {"before": before, "during": meanwhile, "after": after}
        counts = ", ".join(f"{name} {len(arrived & set(p))} of {len(p)}" for name, p in parts.items())
        figure(sink, f"{counts}; {doubled} doubled")
    figure("gap records", str(len(journal.of_kind("gap"))))


def in_room_order(got):
    """Whether each room's numbers only rise: all were emitted by one node."""
    numbers = {}
    for scope, room, n in got:
        numbers.setdefault((scope, room), []).append(n)
    return all(each == sorted(each) for each in numbers.values())
