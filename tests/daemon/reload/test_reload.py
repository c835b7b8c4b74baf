"""A changed configuration is taken up while the daemon runs."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
import structlog

from tdbwatch.daemon.delivery.deliveries import MOST_STUCK
from tdbwatch.daemon.spool.looking.gone import forget, left_in
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.node import Cluster
from tdbwatch.plugin import Event, Sink, SinkType
from tests.daemon.reload.reload_kit import LIMIT, ListOptions, Rig

TWO = {"a": {"type": "list"}, "b": {"type": "list"}}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(1, shutdown_period=0.1) as made:
        made.add_room("//stuff", "alerts")
        made.add_room("//stuff", "deploys")
        made.on_query("nil")
        yield made


SETTLE = "tdbwatch.daemon.reload.applying.SETTLE"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    """Nobody needs to wait for sinks that hang on purpose."""
    monkeypatch.setattr(SETTLE, 0.3)


@pytest.fixture
async def rig(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """All that a reload begins is done when it returns."""
    monkeypatch.setattr(SETTLE, LIMIT)
    made = Rig(tmp_path, cluster)
    yield made
    made.lists.release.set()
    await made.daemon.stop()


async def test_a_room_is_joined_and_left_again_and_the_connection_stays(rig: Rig) -> None:
    await rig.start()
    links = rig.daemon.client.links()
    verdict = await rig.reload(rooms=["alerts", "deploys"])
    assert verdict.changes == ("room deploys in //stuff joined",)
    there = rig.emit(3, room="deploys")
    await rig.drained()
    verdict = await rig.reload(rooms=["alerts"])
    assert verdict.changes == ("room deploys in //stuff left",)
    rig.emit(3, room="deploys")
    here = rig.emit(3)
    await rig.drained()
    assert rig.lists.numbers("a") == there + here
    assert rig.daemon.client.links() == links
    assert [room.name for room in rig.daemon.rooms] == ["alerts"]


async def test_a_room_that_stays_is_not_joined_again_whatever_else_is_said_of_it(rig: Rig) -> None:
    await rig.start()
    joins = [entry for entry in rig.cluster.log if entry.kind.name == "JOIN"]
    first = rig.emit(2)
    await rig.heard()
    verdict = await rig.reload(rooms=[{"name": "alerts", "as": "alarms", "args": ["number"]}])
    assert verdict.changes == ("room alarms in //stuff changed",)
    second = rig.emit(2)
    await rig.drained()
    assert [entry for entry in rig.cluster.log if entry.kind.name == "JOIN"] == joins
    assert rig.lists.numbers("a") == first + second
    assert [event.room for event in rig.lists.events["a"]] == ["alerts"] * 2 + ["alarms"] * 2
    assert [event.data for event in rig.lists.events["a"]][1:] == [
        None,
        {"number": second[0]},
        {"number": second[1]},
    ]


async def test_a_room_under_a_name_that_another_had_has_a_gap_and_no_overlap(rig: Rig) -> None:
    await rig.start()
    await rig.reload(rooms=[{"name": "deploys", "as": "alerts"}])
    sent = rig.emit(1, room="deploys")
    await rig.drained()
    assert rig.lists.numbers("a") == sent
    (gap,) = rig.lists.of_kind("a", "gap")
    assert (gap.room, gap.details["cause"]) == ("alerts", "room")
    assert "configuration was changed" in gap.details["reason"]


async def test_a_sink_that_is_new_begins_with_what_comes_then(rig: Rig) -> None:
    await rig.start()
    old = rig.emit(3)
    await rig.drained()
    verdict = await rig.reload(sinks=TWO)
    assert verdict.changes == ("sink b opened",)
    new = rig.emit(3)
    await rig.drained()
    assert rig.lists.numbers("a") == old + new
    assert rig.lists.numbers("b") == new
    assert rig.lists.opened == ["a", "b"]


async def test_a_sink_that_stays_is_not_opened_again(rig: Rig) -> None:
    await rig.start(sinks=TWO)
    verdict = await rig.reload(rooms=["alerts", "deploys"], routes=[{"to": ["a", "b"]}])
    assert verdict.changes == ("room deploys in //stuff joined", "routes changed")
    assert rig.lists.opened == ["a", "b"]
    assert rig.lists.closed == []


@pytest.mark.parametrize(
    "change",
    [{"mark": "other"}, {"retry": {"max_attempts": 3}}, {"batch": {"count": 5}}, {"max_in_flight": 2}],
)
async def test_a_sink_with_other_settings_is_opened_anew_where_the_former_ended(
    rig: Rig, change: dict[str, object]
) -> None:
    await rig.start(sinks=TWO)
    first = rig.emit(5)
    await rig.heard()
    verdict = await rig.reload(sinks={"a": {"type": "list"}, "b": {"type": "list", **change}})
    assert verdict.changes == ("sink b reopened",)
    second = rig.emit(5)
    await rig.drained()
    assert rig.lists.numbers("b") == first + second
    assert rig.lists.opened == ["a", "b", "b"]
    assert rig.lists.closed == ["b"]
    assert rig.daemon.routing.former == 0, "the routes are the same"


async def test_a_sink_that_is_removed_gets_what_was_heard_before_though_the_disk_has_not_got_it_yet(
    rig: Rig,
) -> None:
    await rig.start(sinks=TWO)
    path = rig.folder / "spool.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else may write
        sent = rig.emit(5)
        await rig.until(lambda: rig.daemon.received == 5)
        reload = asyncio.create_task(rig.reload(sinks={"a": {"type": "list"}}))
        await rig.until(lambda: len(rig.daemon.config.sinks) == 1)
        other.execute("ROLLBACK")
    await reload
    rig.emit(5)
    await rig.drained()
    assert rig.lists.numbers("b") == sent
    assert left_in(path, ["a"]) == (), "nothing is shown as left behind for good"


async def test_a_sink_that_is_removed_gets_what_came_before_and_returns_where_it_left(rig: Rig) -> None:
    await rig.start(sinks=TWO)
    first = rig.emit(5)
    await rig.heard()
    await rig.reload(sinks={"a": {"type": "list"}})
    away = rig.emit(5)
    await rig.drained()
    assert rig.lists.numbers("b") == first
    assert [status.sink for status in rig.daemon.couriers()] == ["a"]
    await rig.reload(sinks=TWO)
    later = rig.emit(5)
    await rig.drained()
    assert rig.lists.numbers("b") == first + away + later, "as after a restart with the old name"


async def test_routes_are_asked_as_they_were_when_an_event_was_heard(rig: Rig) -> None:
    """However far a sink is: else what one sink has not read yet would be nobody's."""
    hung = {"a": {"type": "list", "hang": True}, "b": {"type": "list"}}
    await rig.start(sinks=hung, routes=[{"to": ["a"]}], spool={"path": str(rig.folder / "s.db")})
    first = rig.emit(4_000)  # more than a courier reads ahead
    await rig.heard()
    await rig.reload(routes=[{"to": ["b"]}])
    second = rig.emit(10)
    await rig.heard()
    await rig.until(lambda: rig.lists.numbers("b") == second)
    rig.lists.release.set()
    await rig.drained()
    assert rig.lists.numbers("a") == first
    assert rig.lists.numbers("b") == second
    await rig.until(lambda: not rig.daemon.routing.former)


async def test_what_a_route_remembers_stays_with_it_wherever_it_stands(rig: Rig) -> None:
    dedupe = {"dedupe": {"window": "1h", "key": "event"}, "to": ["a"]}
    await rig.start(sinks=TWO, routes=[dedupe])
    (first, *_) = rig.emit(2)
    await rig.heard()
    await rig.reload(routes=[{"match": {"event": "other"}, "to": ["b"]}, dedupe])
    rig.emit(2)
    await rig.drained()
    assert rig.lists.numbers("a") == [first]
    assert rig.daemon.routing.now.counts.held == {"routes[1]": 2}


async def test_a_file_that_is_bad_changes_nothing_and_says_why(rig: Rig) -> None:
    await rig.start(routes=[{"to": ["a"]}, {"match": {"kind": "config"}, "to": ["a"]}])
    verdict = await rig.reload(rooms=["deploys"], sinks={"a": {"type": "lost"}})
    assert not verdict.accepted
    (problem,) = verdict.problems
    assert (problem.path, problem.line) == ("sinks.a.type", 1)
    assert [room.name for room in rig.daemon.rooms] == ["alerts"]
    sent = rig.emit(2)
    await rig.drained()
    assert rig.lists.numbers("a") == sent
    (record,) = rig.lists.of_kind("a", "config")
    assert record.event == record.details["verdict"] == "refused"
    assert record.details["problems"][0]["key"] == "sinks.a.type"
    assert rig.lists.opened == ["a"]


async def test_what_takes_a_restart_is_said_by_name_and_the_rest_is_taken_up(rig: Rig) -> None:
    await rig.start()
    path = rig.folder / "other.db"
    verdict = await rig.reload(spool={"path": str(path)}, rooms=["alerts", "deploys"])
    assert verdict.accepted
    assert verdict.restart == ("spool.path",)
    assert verdict.changes == ("room deploys in //stuff joined",)
    assert rig.daemon.config.spool.path == rig.folder / "spool.db"
    assert not path.exists()
    verdict = await rig.reload(spool={"path": str(rig.folder / "spool.db")})
    assert (verdict.word, verdict.restart) == ("unchanged", ())


async def test_a_configuration_is_in_use_since_it_last_changed_and_not_since_it_was_last_read(
    rig: Rig,
) -> None:
    await rig.start()
    began_us = rig.daemon.in_use.since_us
    for sections in ({}, {"spool": {"path": str(rig.folder / "waits.db")}}, {"rooms": ["typo", 5]}):
        await rig.reload(**sections)
        assert rig.daemon.glance().config.since_us == began_us
    assert began_us < rig.daemon.in_use.read_us < rig.daemon.in_use.verdict.at_us
    verdict = await rig.reload(rooms=["alerts", "deploys"])
    assert began_us < rig.daemon.in_use.since_us <= verdict.at_us


async def test_however_many_ask_at_once_the_file_is_read_once_more(rig: Rig) -> None:
    await rig.start()
    reads = []
    read, rig.daemon._reloader._read = rig.daemon._reloader._read, lambda: (reads.append(1), read())[1]
    await asyncio.gather(*(rig.daemon.reload() for _ in range(100)))
    assert len(reads) == 1
    first = asyncio.create_task(rig.daemon.reload())
    await rig.until(lambda: len(reads) == 2)
    await asyncio.gather(first, *(rig.daemon.reload() for _ in range(100)))
    assert len(reads) <= 3


@pytest.mark.usefixtures("impatient")
async def test_a_sink_that_hangs_holds_up_neither_a_reload_nor_another_sink(rig: Rig) -> None:
    await rig.start(
        sinks={"a": {"type": "list"}, "b": {"type": "list", "hang": True}}, shutdown={"grace": "60s"}
    )
    sent = rig.emit(3)
    await rig.until(lambda: rig.lists.numbers("a") == sent)
    verdict = await rig.reload(sinks={"a": {"type": "list"}})
    assert verdict.changes == ("sink b closed",)
    more = rig.emit(3)
    await rig.until(lambda: rig.lists.numbers("a") == sent + more)
    await rig.reload(sinks={"a": {"type": "list"}, "b": {"type": "list"}})
    rig.lists.release.set()
    await rig.drained()
    await rig.until(lambda: set(rig.lists.numbers("b")) >= {*sent, *more})
    await rig.reload(shutdown={"grace": "1s"})


async def test_the_limits_of_the_spool_hold_at_once(rig: Rig) -> None:
    hung = {"a": {"type": "list", "hang": True}}
    await rig.start(sinks=hung, spool={"path": str(rig.folder / "s.db"), "max_size": "1GiB"})
    for number in range(30):
        rig.cluster.emit("//stuff", "alerts", "large", number, "x" * 100_000)
    await rig.heard()
    assert rig.daemon.spool.drops.count == 0
    verdict = await rig.reload(spool={"path": str(rig.folder / "s.db"), "max_size": "1MiB"})
    assert verdict.changes == ("spool.max_size changed",)
    await rig.until(lambda: rig.daemon.spool.drops.count > 0)
    await rig.until(lambda: rig.daemon.spool.entries < 15)
    verdict = await rig.reload(
        spool={"path": str(rig.folder / "s.db"), "max_size": "1MiB", "when_full": "drop_newest"}
    )
    assert verdict.restart == ()


async def test_groups_take_their_share_of_the_spool_as_it_is_now(rig: Rig) -> None:
    routes = [{"group": {"key": "args[0]", "wait": "1h"}, "to": "a"}]
    spool = {"path": str(rig.folder / "s.db"), "max_size": "1GiB"}
    await rig.start(sinks={"a": {"type": "list"}}, routes=routes, spool=spool)
    for number in range(3):
        rig.cluster.emit("//stuff", "alerts", "large", number, "x" * 30_000)
    await rig.until(lambda: rig.daemon.remembering.holding.open["routes[0]"] == 3)
    await rig.reload(routes=routes, spool={**spool, "max_size": "1MiB"})
    rig.cluster.emit("//stuff", "alerts", "small", 3)
    await rig.until(lambda: rig.lists.of_kind("a", "group"))


async def test_other_nodes_take_over_without_a_gap(tmp_path: Path) -> None:
    async with Cluster(2, shutdown_period=0.1) as cluster:
        cluster.add_room("//stuff", "alerts")
        cluster.on_query("nil")
        rig = Rig(tmp_path, cluster)
        first, second = (node.address for node in cluster.nodes)
        auth = rig.sections["thingsdb"]["auth"]
        await rig.start(thingsdb={"nodes": [first], "auth": auth})
        try:
            sent = rig.emit(5)
            verdict = await rig.reload(thingsdb={"nodes": [second], "auth": auth})
            assert (verdict.changes, verdict.restart) == (("thingsdb.nodes changed",), ())

            def moved() -> bool:
                sent.extend(rig.emit())
                return {str(address) for address in rig.daemon.client.in_use()} == {second}

            await rig.until(moved)
            await cluster.nodes[0].stop()
            sent += rig.emit(5)
            await rig.drained()
            assert rig.lists.numbers("a") == sent
            assert rig.lists.of_kind("a", "gap") == []
            verdict = await rig.reload(thingsdb={"nodes": [first, second], "auth": auth})
            assert verdict.restart == ("thingsdb.connections",), "two nodes mean two connections"
            assert rig.daemon.config.thingsdb.live_connections == 1
        finally:
            await rig.daemon.stop()


class Blocking:
    """A type of sink whose thread blocks until it is let go."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def sink_type(self) -> SinkType:
        blocking = self

        class BlockingSink(Sink):
            Options = ListOptions

            async def deliver(self, batch: Sequence[Event]) -> None:
                blocking.release.wait()

        return SinkType("blocking", BlockingSink, ListOptions)


def threads(sink: str) -> int:
    return sum(thread.name == f"tdbwatch-sink-{sink}" for thread in threading.enumerate())


@pytest.mark.usefixtures("impatient")
async def test_threads_that_do_not_come_back_do_not_become_ever_more(rig: Rig) -> None:
    blocking = Blocking()
    rig.registry.offer("test", blocking.sink_type())

    def sinks(turn: int) -> dict[str, object]:
        stuck = {"type": "blocking", "mark": str(turn), "timeout": "50ms"}
        return {"a": {"type": "list"}, "stuck": stuck}

    try:
        await rig.start(sinks=sinks(0), shutdown={"grace": "50ms"})
        rig.emit()
        for turn in range(1, MOST_STUCK + 2):
            await rig.until(
                lambda: any(s.sink == "stuck" and s.state == "stuck" for s in rig.daemon.couriers())
            )
            assert (await rig.reload(sinks=sinks(turn))).accepted
        assert threads("stuck") <= MOST_STUCK
        assert [status.sink for status in rig.daemon.couriers()] == ["a", "stuck"]
    finally:
        blocking.release.set()
    await rig.until(lambda: threads("stuck") == 1)
    await rig.drained()


async def test_what_a_removed_sink_has_not_got_is_kept_and_shown(rig: Rig) -> None:
    hung = {"a": {"type": "list"}, "b": {"type": "list", "hang": True}}
    await rig.start(sinks=hung, shutdown={"grace": "200ms"}, http={"listen": "127.0.0.1:0"})
    sent = rig.emit(7)
    await rig.until(lambda: rig.lists.numbers("a") == sent)
    with structlog.testing.capture_logs() as said:
        await rig.reload(sinks={"a": {"type": "list"}})
        await rig.until(lambda: any(line["event"] == "sink.gone" for line in said))
    (gone,) = [line for line in said if line["event"] == "sink.gone"]
    assert (gone["sink"], gone["events"]) == ("b", 7)
    assert rig.daemon.status is not None
    snapshot = await rig.daemon.status.snapshot()
    assert [(one.sink, one.events) for one in snapshot.left_behind] == [("b", 7)]
    rig.lists.release.set()
    await rig.reload(sinks={"a": {"type": "list"}, "b": {"type": "list"}})
    await rig.drained()
    assert rig.lists.numbers("b") == sent


async def test_a_sink_that_was_given_up_meanwhile_begins_anew(rig: Rig) -> None:
    """`tdbwatch spool drop` beside the daemon: what its memory knows of the sink does not count."""
    hung = {"a": {"type": "list"}, "b": {"type": "list", "hang": True}}
    await rig.start(sinks=hung, shutdown={"grace": "200ms"})
    rig.emit(7)
    await rig.heard()
    await rig.reload(sinks={"a": {"type": "list"}})
    await rig.until(lambda: [status.sink for status in rig.daemon.couriers()] == ["a"])
    await rig.daemon.spool.flush()
    with opened(rig.folder / "spool.db", "rw") as look:
        forget(look, "b")
    rig.lists.release.set()
    await rig.reload(sinks={"a": {"type": "list"}, "b": {"type": "list"}})
    new = rig.emit(2)
    await rig.drained()
    assert rig.lists.numbers("b") == new


async def test_whoever_is_about_to_stop_takes_nothing_up(rig: Rig) -> None:
    await rig.start()
    rig.daemon.phase = "stopping"
    verdict = await rig.reload(rooms=["deploys"])
    assert [problem.message for problem in verdict.problems] == ["the daemon is about to stop"]
    assert [room.name for room in rig.daemon.rooms] == ["alerts"]


async def test_a_mistake_of_ours_while_reading_is_a_refusal_and_no_end(rig: Rig) -> None:
    await rig.start()
    rig.daemon._reloader._read = lambda: 1 // 0
    with structlog.testing.capture_logs() as said:
        verdict = await rig.daemon.reload()
    assert "ZeroDivisionError" in verdict.problems[0].message
    assert any(line["event"] == "config.unreadable" for line in said)
    assert not rig.daemon.failed.done()


async def test_a_disk_that_does_not_answer_holds_up_no_later_reload(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdbwatch.daemon.reload.reloader.READ_SECONDS", 0.05)
    await rig.start()
    hanging, read = threading.Event(), rig.daemon._reloader._read
    rig.daemon._reloader._read = lambda: hanging.wait(20) and read()
    verdict = await rig.daemon.reload()
    assert "the disk does not answer" in verdict.problems[0].message
    rig.daemon._reloader._read = read
    monkeypatch.setattr("tdbwatch.daemon.reload.reloader.READ_SECONDS", 20)
    hanging.set()
    assert (await rig.reload(rooms=["alerts", "deploys"])).accepted


async def test_a_call_that_a_reload_cuts_off_is_no_sign_that_an_event_ends_the_process(rig: Rig) -> None:
    """Only what couriers find at the start may be: else an event of a sink that hangs would be given up."""
    (rig.folder / "spool.db-wal").touch()  # as after a kill
    hung = {"a": {"type": "list", "hang": True, "timeout": "20s"}}
    await rig.start(sinks=hung, shutdown={"grace": "50ms"})
    rig.emit()
    for turn in range(8):
        await rig.until(lambda: any(status.in_flight for status in rig.daemon.couriers()))
        await rig.reload(sinks={"a": {**hung["a"], "mark": str(turn)}})
        assert rig.daemon.couriers()[0].counts.dead == 0
    rig.lists.release.set()
    await rig.reload(sinks={"a": {"type": "list"}})
    await rig.drained()
    assert rig.lists.numbers("a") == [0]


async def test_the_status_port_moves_and_whoever_asked_there_is_answered(rig: Rig) -> None:
    await rig.start(http={"listen": "127.0.0.1:0"})
    first = rig.daemon.status
    assert first is not None
    await first.listening.wait()
    rig.write(http={"listen": "127.0.0.1:0", "hosts": ["watch.example.org"]})
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{first.port}/-/reload"
        async with session.post(url, headers={"X-Tdbwatch": "reload"}) as answer:
            assert (await answer.json())["changes"] == ["http changed"]
        await rig.until(lambda: rig.daemon.status not in {first, None})
        second = rig.daemon.status
        assert second is not None
        await second.listening.wait()
        names = {"Host": "watch.example.org"}
        async with session.get(f"http://127.0.0.1:{second.port}/healthz", headers=names) as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match="onnect"):
            await session.post(url)
    assert (await rig.reload(http=None)).changes == ("http changed",)
    await rig.until(lambda: rig.daemon.status is None)


async def test_the_canary_moves_to_another_room(rig: Rig) -> None:
    thingsdb = rig.sections["thingsdb"]
    await rig.start(thingsdb={**thingsdb, "canary": {"room": "alerts"}})
    await rig.reload(thingsdb={**thingsdb, "canary": {"room": "deploys"}})
    await rig.until(lambda: rig.daemon.canary is not None and rig.daemon.canary.subscription.key == "deploys")
    await rig.until(lambda: rig.daemon.canary is not None and bool(rig.daemon.canary.subscription.links))
    await rig.reload(thingsdb=thingsdb)
    await rig.until(lambda: rig.daemon.canary is None)
