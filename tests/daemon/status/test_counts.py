"""What is counted: page, metrics and JSON tell the same, of what came and of what no route took."""

import asyncio

from structlog.testing import capture_logs

from tdbwatch.node import Cluster

from .kit import Watch


async def test_page_metrics_and_json_tell_the_same_of_the_events(watch: Watch, cluster: Cluster) -> None:
    asker = await watch()
    await asker.until(lambda status: status["rooms"][0]["links"] == 2)
    for number in range(1_234):
        cluster.emit("//stuff", "alerts", f"event-{number}", number)
    status = await asker.until(lambda status: status["sinks"][0]["delivered"] == 1_234)
    assert status["rooms"][0]["received"] == 1_234
    assert status["rooms"][0]["last_event"] is not None
    doubled = "tdbwatch_merge_doubled_total", "alerts", "//stuff"
    async with asyncio.timeout(20):  # the second connection may be behind the first one
        while (metrics := await asker.metrics())[doubled] < 1_234:
            await asyncio.sleep(0.005)
    assert metrics["tdbwatch_events_received_total", "alerts", "//stuff"] == 1_234
    assert metrics[doubled] == 1_234
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
