"""The status server of a real daemon, asked over real HTTP."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.config import load
from tdbwatch.daemon.config.models import HttpConfig
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.status.health import problems
from tdbwatch.daemon.status.metrics import DEFINITIONS
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
ADDRESSES = ("/healthz", "/readyz", "/metrics", "/status.json", "/tail", "/letters", "/config", "/")
PLUGIN = """
from tdbwatch.plugin import Rejected, sink

@sink("refuser")
def refuser(event):
    return Rejected(f"no service {event.args[0]} <script>alert(1)</script>")
"""
MIB = 1 << 20


class Asker:
    """Asks a daemon's status server."""

    def __init__(self, daemon: Daemon, session: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self._session = session

    @property
    def base(self) -> str:
        assert self.daemon.status is not None
        return f"http://127.0.0.1:{self.daemon.status.port}"

    async def get(self, path: str) -> tuple[int, str]:
        async with self._session.get(self.base + path) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str = "/status.json") -> dict[str, Any]:
        return dict(json.loads((await self.get(path))[1]))

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """Values by (name, label value, ...), the labels in the order of their names."""
        families = text_string_to_metric_families((await self.get("/metrics"))[1])
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    async def everything(self) -> str:
        return "\n".join([(await self.get(path))[1] for path in ADDRESSES])

    async def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The status, as soon as it is as expected; the deadline is only reached when something is broken."""
        async with asyncio.timeout(20):
            while not met(status := await self.json()):
                await asyncio.sleep(0.02)
        return status


class Receiver:
    """An HTTP server that gives the same answer to all, once it is released."""

    def __init__(self, status: int, release: asyncio.Event | None = None) -> None:
        self.bodies: list[bytes] = []
        self._status = status
        self._release = release
        application = aiohttp.web.Application()
        application.router.add_post("/", self._answer)
        self._runner = aiohttp.web.AppRunner(application)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def __aenter__(self) -> "Receiver":
        await self._runner.setup()
        await aiohttp.web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        self.bodies.append(await request.read())
        if self._release is not None:
            await self._release.wait()
        return aiohttp.web.Response(status=self._status)


Watch = Callable[..., Awaitable[Asker]]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(2, shutdown_period=0.1) as made:
        made.add_room("//stuff", "alerts")
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture
def make(tmp_path: Path, cluster: Cluster) -> Callable[..., Daemon]:
    """A daemon with the given sections in place of the default ones."""

    def _make(clock: Clock = SYSTEM_CLOCK, **sections: Any) -> Daemon:
        config: dict[str, Any] = {
            "thingsdb": {
                "nodes": [node.address for node in cluster.nodes],
                "auth": {"username": "admin", "password": "pass"},
            },
            "rooms": ["alerts"],
            "sinks": {"audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")}},
            "spool": {"path": str(tmp_path / "spool.db")},
            "http": {"listen": "127.0.0.1:0"},
            "shutdown": {"grace": "500ms"},
        }
        config.update(sections)
        file = tmp_path / "watch.yaml"
        file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        folder = tmp_path / "plugins.d"
        registry = load_plugins((folder,) if folder.exists() else (), ())
        return Daemon(load(file, registry.sink_types), registry, clock=clock)

    return _make


@pytest.fixture
async def watch(
    make: Callable[..., Daemon], session: aiohttp.ClientSession
) -> AsyncIterator[Callable[..., Awaitable[Asker]]]:
    """Start a daemon; with `wait=False` it may still be connecting."""
    daemons: list[Daemon] = []
    starts: list[asyncio.Task[None]] = []

    async def _watch(wait: bool = True, **sections: Any) -> Asker:
        daemon = make(**sections)
        daemons.append(daemon)
        starting = asyncio.create_task(daemon.start())
        starts.append(starting)
        if wait:
            await starting
        assert daemon.status is not None
        await daemon.status.listening.wait()
        return Asker(daemon, session)

    yield _watch
    for starting in starts:
        starting.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    for daemon in daemons:
        await daemon.stop()


async def test_without_an_http_key_nothing_listens(make: Callable[..., Daemon]) -> None:
    assert make(http=None).status is None


async def test_a_daemon_that_works_is_alive_and_ready(watch: Watch) -> None:
    asker = await watch()
    assert await asker.get("/healthz") == (200, '{"alive": true, "failure": ""}')
    code, _ = await asker.get("/readyz")
    assert code == 200
    status = await asker.until(lambda status: status["links"]["live"] == 2)
    assert (status["state"], status["problems"]) == ("ok", [])
    assert "All is well" in (await asker.get("/"))[1]


async def test_page_metrics_and_json_tell_the_same_of_the_events(watch: Watch, cluster: Cluster) -> None:
    asker = await watch()
    await asker.until(lambda status: status["rooms"][0]["links"] == 2)
    for number in range(1_234):
        cluster.emit("//stuff", "alerts", f"event-{number}", number)
    status = await asker.until(lambda status: status["sinks"][0]["delivered"] == 1_234)
    assert status["rooms"][0]["received"] == 1_234
    assert status["rooms"][0]["last_event"] is not None
    metrics = await asker.metrics()
    assert metrics["tdbwatch_events_received_total", "alerts", "//stuff"] == 1_234
    assert metrics["tdbwatch_merge_doubled_total", "alerts", "//stuff"] == 1_234
    assert metrics["tdbwatch_events_delivered_total", "audit"] == 1_234
    assert metrics["tdbwatch_sink_lag", "audit"] == 0
    assert metrics["tdbwatch_spool_duration_seconds_count", "audit"] == 1_234
    assert metrics["tdbwatch_spool_duration_seconds_bucket", "+Inf", "audit"] == 1_234
    assert 1 <= metrics["tdbwatch_delivery_duration_seconds_count", "audit"] <= 1_234
    assert (await asker.get("/"))[1].count("1,234") == 2


async def test_what_no_route_takes_is_counted_and_a_doubtful_configuration_told(
    watch: Watch, cluster: Cluster
) -> None:
    routes = [{"match": {"event": "disk-*"}, "to": "audit"}, {"match": {"room": "alertz"}, "to": "audit"}]
    with capture_logs() as log:
        asker = await watch(routes=routes)
    [doubt] = [line for line in log if line["event"] == "config.doubtful"]
    assert doubt["key"] == "routes[1].match.room"
    assert doubt["place"].endswith("watch.yaml:1:" + doubt["place"].rpartition(":")[2])
    assert doubt["remedy"].startswith("did you mean alerts?")
    [ready] = [line for line in log if line["event"] == "daemon.ready"]
    assert "Config" not in ready["summary"]
    status = await asker.json()
    assert (status["state"], status["ready"]) == ("ok", True)
    assert [(problem["part"], problem["name"]) for problem in status["problems"]] == [
        ("config", "routes[1].match.room")
    ]
    for name in ("disk-full", "cpu-high", "cpu-high"):
        cluster.emit("//stuff", "alerts", name)
    status = await asker.until(lambda status: status["rooms"][0]["received"] == 3)
    assert status["rooms"][0]["unrouted"] == 2
    status = await asker.until(lambda status: status["routes"][0]["matched"] == 1)
    assert [route["path"] for route in status["routes"]] == ["routes[0]", "routes[1]"]
    assert (await asker.metrics())["tdbwatch_route_matched_total", "routes[1]"] == 0
    assert (await asker.metrics())["tdbwatch_events_unrouted_total", "alerts", "//stuff"] == 2
    page = (await asker.get("/"))[1]
    assert "2 events since the start that no route takes: no sink gets them." in page
    assert "To do: Did you mean alerts?" in page


async def test_a_route_whose_expressions_fail_for_events_is_shown_with_the_last_reason(
    watch: Watch, cluster: Cluster
) -> None:
    routes = [{"to": ["log"], "where": "args[0].severity > 3"}]
    asker = await watch(sinks={"log": {"type": "log"}}, routes=routes)
    for _ in range(2):
        cluster.emit("//stuff", "alerts", "disk-full", {"host": "db1"})
    status = await asker.until(lambda status: status["routes"] and status["routes"][0]["failures"] == 2)
    assert status["routes"][0]["path"] == "routes[0]"
    assert (await asker.metrics())["tdbwatch_route_failures_total", "routes[0]"] == 2
    assert (await asker.metrics())["tdbwatch_route_matched_total", "routes[0]"] == 0
    (problem,) = (problem for problem in status["problems"] if problem["part"] == "route")
    assert problem["text"].endswith(
        '2 events since the start. The latest: where: Key not found in map : "severity"'
    )
    assert status["routes"][0]["event_id"] in problem["remedy"]
    assert status["ready"]


async def test_what_is_emitted_never_makes_a_new_time_series(watch: Watch, cluster: Cluster) -> None:
    asker = await watch()
    cluster.emit("//stuff", "alerts", "first")
    await asker.until(lambda status: status["sinks"][0]["delivered"] >= 1)
    before = (await asker.metrics()).keys()
    for number in range(100):
        cluster.emit("//stuff", "alerts", f"name-{number}", {"key": number})
    await asker.until(lambda status: status["sinks"][0]["delivered"] >= 101)
    assert (await asker.metrics()).keys() == before


async def test_it_is_ready_once_its_required_room_is_there(watch: Watch, cluster: Cluster) -> None:
    asker = await watch(rooms=["alerts", {"name": "oncall", "required": True}])
    code, body = await asker.get("/readyz")
    assert code == 503
    (reason,) = json.loads(body)["reasons"]
    assert (reason["part"], reason["name"]) == ("room", "oncall in //stuff")
    assert (await asker.metrics())["tdbwatch_room_joined", "oncall", "//stuff"] == 0
    cluster.add_room("//stuff", "oncall")
    await asker.until(lambda status: status["rooms"][1]["state"] == "joined")
    assert (await asker.get("/readyz"))[0] == 200


async def test_a_missing_room_that_is_not_required_is_a_warning_only(watch: Watch) -> None:
    asker = await watch(rooms=["alerts", "later"])
    code, body = await asker.get("/readyz")
    assert code == 200
    assert [warning["name"] for warning in json.loads(body)["warnings"]] == ["later in //stuff"]
    assert (await asker.json())["state"] == "warning"


async def test_it_answers_before_it_is_connected(watch: Watch, cluster: Cluster) -> None:
    for node in cluster.nodes:
        await node.stop()
    asker = await watch(wait=False)
    status = await asker.until(lambda status: any(node["trouble"] for node in status["nodes"]))
    assert status["state"] == "starting"
    assert (await asker.get("/healthz"))[0] == 200
    assert (await asker.get("/readyz"))[0] == 503


async def test_without_a_connection_it_is_alive_but_not_ready_and_the_gap_is_shown_later(
    watch: Watch, cluster: Cluster
) -> None:
    asker = await watch()
    for node in cluster.nodes:
        await node.stop()
    status = await asker.until(lambda status: all(n["state"] == "unreachable" for n in status["nodes"]))
    assert status["links"]["live"] == 0
    assert status["problems"][0]["part"] == "links"
    assert [(gap["room"], gap["cause"]) for gap in status["open_gaps"]] == [("alerts", "connection")]
    since = status["open_gaps"][0]["since"]
    page = (await asker.get("/"))[1]
    assert "still open" in page
    assert "No event was missed" not in page
    assert (await asker.get("/readyz"))[0] == 503
    assert (await asker.get("/healthz"))[0] == 200
    await cluster.nodes[0].start()
    status = await asker.until(lambda status: bool(status["gaps"]))
    assert (status["gaps"][0]["room"], status["gaps"][0]["since"]) == ("alerts", since)
    assert status["open_gaps"] == []
    metrics = await asker.metrics()
    assert metrics["tdbwatch_gaps_total", "connection", "alerts", "//stuff"] == 1
    assert metrics["tdbwatch_gaps_total", "downtime", "alerts", "//stuff"] == 0
    assert metrics["tdbwatch_link_reconnects_total", cluster.nodes[0].address] >= 0
    assert (await asker.get("/readyz"))[0] == 200


async def test_a_start_that_finds_no_node_is_trouble_after_ten_seconds_and_a_gap_in_the_end(
    watch: Watch, cluster: Cluster
) -> None:
    for node in cluster.nodes:
        await node.stop()
    clock = ManualClock()
    asker = await watch(wait=False, clock=clock)
    await clock.advance(9.9)
    status = await asker.until(lambda status: all(node["trouble"] for node in status["nodes"]))
    assert (status["state"], status["open_gaps"]) == ("starting", [])
    await clock.advance(0.2)
    status = await asker.json()
    assert (status["state"], status["ready"]) == ("trouble", False)
    assert [problem["part"] for problem in status["problems"]] == ["links", "node", "node"]
    assert all(problem["remedy"] for problem in status["problems"])
    [gap] = status["open_gaps"]
    assert (gap["since"], gap["cause"]) == (status["started"], "connection")
    await cluster.nodes[0].start()
    async with asyncio.timeout(20):
        while not (status := await asker.json())["gaps"]:
            await clock.advance(1.0)
    assert (status["gaps"][0]["since"], status["open_gaps"]) == (gap["since"], [])


async def test_a_daemon_that_stops_says_what_it_waits_for_and_of_nothing_that_it_is_in_trouble(
    watch: Watch, cluster: Cluster
) -> None:
    release = asyncio.Event()
    async with Receiver(204, release) as receiver:
        sinks = {"hook": {"type": "webhook", "url": receiver.url}}
        asker = await watch(sinks=sinks, shutdown={"grace": "20s"})
        cluster.emit("//stuff", "alerts", "disk-full")
        await asker.until(lambda status: status["sinks"][0]["in_flight"] == 1)
        stopping = asyncio.create_task(asker.daemon.stop())
        status = await asker.until(lambda status: status["state"] == "stopping")
        assert [(node["state"], node["trouble"]) for node in status["nodes"]] == [("connected", "")] * 2
        assert [room["state"] for room in status["rooms"]] == ["joined"]
        assert [(p["part"], p["text"], p["remedy"]) for p in status["problems"]] == [
            ("daemon", "It was told to stop, and ends within about 20 s.", ""),
            ("links", "2 connections still open: what is heard now stays in the spool.", ""),
            ("sink", "1 event to be delivered.", ""),
        ]
        _, page = await asker.get("/")
        assert "there is nothing to do" in page
        assert "To do:" not in page
        release.set()
        await stopping


async def test_the_daemons_own_downtime_and_a_deleted_room_are_gaps_of_their_causes(
    watch: Watch, make: Callable[..., Daemon], cluster: Cluster
) -> None:
    before = make(http=None)
    await before.start()
    await before.stop()
    asker = await watch()
    await asker.until(lambda status: bool(status["gaps"]))
    cluster.delete_room("//stuff", "alerts")
    await asker.until(lambda status: status["rooms"][0]["state"] == "deleted")
    cluster.add_room("//stuff", "alerts")
    status = await asker.until(lambda status: len(status["gaps"]) == 2)
    assert [gap["cause"] for gap in status["gaps"]] == ["room", "downtime"]


async def test_a_sink_that_fails_makes_it_not_ready_and_shows_no_secret(
    watch: Watch, cluster: Cluster, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}/hooks/hush-hush-token"
    sinks = {"hook": {"type": "webhook", "url": url, "retry": {"initial": "10ms", "max": "20ms"}}}
    asker = await watch(sinks=sinks)
    cluster.emit("//stuff", "alerts", "disk-full")
    status = await asker.until(lambda status: not status["ready"])
    assert (status["problems"][0]["part"], status["problems"][0]["name"]) == ("sink", "hook")
    assert status["sinks"][0]["probing"]
    assert (await asker.get("/readyz"))[0] == 503
    assert (await asker.metrics())["tdbwatch_sink_up", "hook"] == 0
    assert "hush" not in await asker.everything()


async def test_a_receiver_that_refuses_everything_makes_it_not_ready(watch: Watch, cluster: Cluster) -> None:
    async with Receiver(400) as receiver:
        asker = await watch(sinks={"hook": {"type": "webhook", "url": receiver.url}})
        for number in range(5):
            cluster.emit("//stuff", "alerts", "disk-full", number)
        status = await asker.until(lambda status: not status["ready"])
        problem = status["problems"][0]
        assert (problem["part"], problem["name"]) == ("sink", "hook")
        assert problem["text"] == (
            "It refuses all it is given: the last 5 events in a row. It answered: HTTP 400"
        )
        assert "tdbwatch spool requeue --sink hook" in problem["remedy"]
        assert (await asker.metrics())["tdbwatch_sink_up", "hook"] == 0


async def test_a_receiver_that_is_gone_pauses_the_sink_and_says_until_when(
    watch: Watch, cluster: Cluster, tmp_path: Path
) -> None:
    async with Receiver(410) as receiver:
        asker = await watch(sinks={"hook": {"type": "webhook", "url": receiver.url}})
        cluster.emit("//stuff", "alerts", "disk-full", 1)
        status = await asker.until(lambda status: status["sinks"][0]["state"] == "paused")
        cluster.emit("//stuff", "alerts", "disk-full", 2)
        status = await asker.until(lambda status: status["sinks"][0]["lag"] == 2)
        until = status["sinks"][0]["next_try"]
        [problem] = status["problems"]
        assert problem["text"].startswith("Paused. Waiting for it: 2 events. Next try at")
        assert f"{until[11:19]} UTC" in problem["text"]
        assert "HTTP 410" in problem["text"]
        assert (await asker.get("/readyz"))[0] == 503
        metrics = await asker.metrics()
        assert (metrics["tdbwatch_sink_up", "hook"], metrics["tdbwatch_ready",]) == (0, 0)
        assert '<span class="badge trouble">paused</span>' in (await asker.get("/"))[1]
        assert len(receiver.bodies) == 1


async def test_dead_letters_are_counted_with_the_reason_of_the_latest_and_markup_in_it_stays_text(
    watch: Watch, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdbwatch.daemon.status.figures.FRESH_FOR", 0.0)
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    (tmp_path / "plugins.d" / "refusers.py").write_text(PLUGIN)
    (tmp_path / "plugins.d" / "refusers.py").chmod(0o644)
    asker = await watch(sinks={"pager": {"type": "refuser"}})
    for number in range(3):
        cluster.emit("//stuff", "alerts", "disk-full", number)
    status = await asker.until(lambda status: status["sinks"][0]["dead_letters"]["count"] == 3)
    assert status["ready"]
    assert status["sinks"][0]["dead_letters"]["last_reason"].startswith("no service 2 ")
    metrics = await asker.metrics()
    assert (status["sinks"][0]["type"], status["sinks"][0]["plugin"]) == ("refuser", "refusers")
    assert metrics["tdbwatch_dead_letters", "pager"] == 3
    assert metrics["tdbwatch_events_rejected_total", "pager"] == 3
    _, page = await asker.get("/")
    assert "no service 2 &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<small> refuser of plugin refusers</small>" in page
    assert '<a href="letters?sink=pager" class="bad">3</a>' in page
    _, letters = await asker.get("/letters?sink=pager")
    assert re.findall(r"no service (\d) &lt;script&gt;", letters) == ["2", "1", "0"]
    assert "tdbwatch spool requeue --sink pager" in letters
    assert "disk-full" not in (await asker.get("/letters?sink=<i>other"))[1]
    assert "<script>alert" not in page


async def test_when_a_part_died_it_is_not_alive(watch: Watch) -> None:
    asker = await watch()

    async def die() -> None:
        raise RuntimeError("a mistake of ours")

    asker.daemon.tasks.spawn(die(), "dying")
    with pytest.raises(RuntimeError):
        await asker.daemon.failed
    assert await asker.get("/healthz") == (503, '{"alive": false, "failure": "RuntimeError"}')
    assert (await asker.get("/readyz"))[0] == 503
    assert "Broken" in (await asker.get("/"))[1]


async def test_after_the_stop_nobody_listens(watch: Watch) -> None:
    asker = await watch()
    base = asker.base
    assert (await asker.get("/healthz"))[
        0
    ] == 200  # leaves an idle connection, which must not hold up the end
    await asker.daemon.stop()
    async with aiohttp.ClientSession() as fresh:
        with pytest.raises(aiohttp.ClientConnectorError):
            await fresh.get(base + "/healthz")


async def test_a_port_in_use_is_said_and_tried_again_while_the_daemon_works(
    make: Callable[..., Daemon], session: aiohttp.ClientSession
) -> None:
    daemon, clock = make(http=None), ManualClock()
    await daemon.start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon.showing.now = daemon.showing.server(HttpConfig(listen=f"127.0.0.1:{port}"), clock)
        running = asyncio.create_task(daemon.status.run())
        await clock.advance(0.0)
        assert daemon.status.trouble is not None
        assert "another program uses the port" in daemon.status.trouble
        [said] = problems(daemon.glance())
        assert (said.part, said.blocking) == ("http", False)
        assert daemon.status.trouble in said.text
    await clock.advance(120.0)
    await running
    assert daemon.status.trouble is None
    assert (await Asker(daemon, session).get("/readyz"))[0] == 200
    await daemon.stop()


@pytest.mark.parametrize("path", ADDRESSES)
async def test_browsers_are_told_to_trust_nothing_else(
    watch: Watch, session: aiohttp.ClientSession, path: str
) -> None:
    asker = await watch()
    async with session.get(asker.base + path) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "tdbwatch"


async def test_only_reading_is_answered(watch: Watch, session: aiohttp.ClientSession) -> None:
    asker = await watch()
    async with session.post(asker.base + "/healthz") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    async with session.get(asker.base + "/", data=b"x" * 100) as answer:
        assert answer.status == 413
    async with session.get(asker.base + "/etc/passwd") as answer:
        assert (answer.status, await answer.text()) == (404, "404 Not Found\n")
    async with session.head(asker.base + "/readyz") as answer:
        assert answer.status == 200


async def test_every_metric_that_is_shown_is_documented_and_no_other(watch: Watch) -> None:
    asker = await watch()
    _, text = await asker.get("/metrics")
    shown = set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
    documented = set(re.findall(r"^\| `((?:tdbwatch|process)_\w+)", DOCS.read_text(), re.MULTILINE))
    absent_here = {
        "tdbwatch_canary_failures_total",
        "tdbwatch_canary_joined",
        "tdbwatch_last_event_timestamp_seconds",
    }
    assert {definition.name for definition in DEFINITIONS} <= shown | absent_here
    assert shown | absent_here == documented


def test_the_labels_of_every_metric_are_documented() -> None:
    rows = dict(re.findall(r"^\| `(tdbwatch_\w+)(?:\{([\w,]+)\})?`", DOCS.read_text(), re.MULTILINE))
    assert {name: tuple(filter(None, labels.split(","))) for name, labels in rows.items()} == {
        definition.name: definition.labels for definition in DEFINITIONS
    }


def test_the_documentation_names_no_metric_that_there_is_not() -> None:
    named = set(re.findall(r"\btdbwatch_[a-z_]+[a-z]\b", DOCS.read_text()))
    assert named - {"tdbwatch_merge", "tdbwatch_canary"} == {definition.name for definition in DEFINITIONS}


def test_every_address_is_documented() -> None:
    text = DOCS.read_text()
    assert all(f"| `{path}` |" in text for path in ADDRESSES)
