"""Sinks that fail, refuse, pause or bury: what is told of them, and that no secret is shown."""

import re
from pathlib import Path

import pytest

from tdbwatch.node import Cluster

from .kit import Receiver, Watch

PLUGIN = """
from tdbwatch.plugin import Rejected, sink

@sink("refuser")
def refuser(event):
    return Rejected(f"no service {event.args[0]} <script>alert(1)</script>")
"""


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
