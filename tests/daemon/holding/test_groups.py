"""Routes that group: one record in place of many events, none lost, none twice, whatever is killed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.holding.grouped import MOST_BYTES, MOST_LEVELS
from tdbwatch.daemon.spool.stored.blocks import Run, heard, run_of
from tdbwatch.plugin import Event

from .holding_kit import LANE, START, Log, left

GROUP = {"group": {"key": "args[0]", "wait": "10s", "max": 3}, "to": "a"}


def members(record: dict[str, Any]) -> list[Any]:
    return [member["args"] for member in record["members"]]


def test_events_of_one_key_become_one_record_some_time_after_the_first() -> None:
    log = Log(GROUP)
    log.hear(0, "k", 1)
    log.hear(5, "j", 2)
    log.hear(9, "k", 3)
    log.tell(9.9)
    assert log.got() == []
    log.tell(10)
    (record,) = (event.record() for event in log.got())
    assert {key: record[key] for key in ("kind", "event", "room", "route", "key", "count")} == {
        "kind": "group",
        "event": "group",
        "room": "alerts",
        "route": "routes[0]",
        "key": "k",
        "count": 2,
    }
    assert (record["since"][-10:-1], record["until"][-10:-1]) == ("20.000000", "29.000000")
    assert members(record) == [["k", 1], ["k", 3]]
    records = {event.id: event.record() for event in log.events()}
    assert all(records[member["id"]] == member for member in record["members"])
    log.tell(15)
    assert [members(event.record()) for event in log.got()][1:] == [[["j", 2]]]
    assert left(log.all_marks()) == []


def test_a_group_that_is_full_is_told_at_once_and_the_next_event_begins_another() -> None:
    log = Log(GROUP)
    events = [Event.create("alerts", "x", ["k", n], received_us=START) for n in range(7)]
    payloads = [run_of(event).payloads[0] for event in events]
    log.append([(LANE, Run(run_of(events[0]).id, START, "event", 1, (), ["x"] * 7, payloads))])
    assert [members(event.record()) for event in log.got()] == [
        [["k", 0], ["k", 1], ["k", 2]],
        [["k", 3], ["k", 4], ["k", 5]],
    ]
    log.tell(10)
    assert members(log.told("group")[-1]) == [["k", 6]]


def test_of_groups_that_end_and_begin_in_one_turn_none_is_taken_for_another() -> None:
    """The second group of `k` is in the commit before that of the first one's record."""
    log = Log({"group": {"key": "args[0]", "wait": "10s", "max": 5}, "to": "a"})
    log.append(heard([Event.create("alerts", "x", [key], received_us=START) for key in "kjkkkkjk"]))
    log.restart()
    log.tell(10)
    assert sorted(len(members(record)) for record in log.told("group")) == [1, 2, 5]


def test_an_event_that_comes_between_two_looks_does_not_join_what_is_due() -> None:
    log = Log(GROUP)
    log.hear(0, "k")
    log.hear(10.5, "k")
    assert [record["count"] for record in log.told("group")] == [1]
    log.tell(20.4)
    assert [record["count"] for record in log.told("group")] == [1]
    log.tell(20.5)
    assert [record["count"] for record in log.told("group")] == [1, 1]


def test_without_a_key_all_of_the_route_are_one_group_and_one_whose_key_has_no_value_goes_through() -> None:
    log = Log({"group": {"wait": "10s"}, "to": "a"})
    for key in "abc":
        log.hear(0, key)
    log.tell(10)
    assert [record["count"] for record in log.told("group")] == [3]
    log = Log(GROUP)
    log.hear(0)
    assert [event.kind for event in log.got()] == ["event"]
    assert log.router.counts.failures["routes[0]"].reason.startswith("key: Index error")


def test_members_have_their_fields_and_the_record_those_in_which_they_agree() -> None:
    route = {**GROUP, "set": {"team": "'dba'", "n": "args[1]"}, "where": "args[1] > 0"}
    log = Log(route, {"match": {"kind": "group", "fields": {"team": "d*"}}, "to": "b"})
    for n in (1, 0, 2):
        log.hear(0, "k", n)
    log.tell(10)
    for sink in ("a", "b"):
        (event,) = log.got(sink)
        assert event.fields == {"team": "dba"} == event.record()["fields"]
        assert [member["fields"] for member in event.details["members"]] == [
            {"team": "dba", "n": 1},
            {"team": "dba", "n": 2},
        ]


def test_other_routes_get_the_events_themselves_unless_it_stops() -> None:
    log = Log(GROUP, {"to": "b"})
    log.hear(0, "k")
    assert (len(log.got("a")), len(log.got("b"))) == (0, 1)
    log = Log({**GROUP, "stop": True}, {"to": "b"}, {"match": {"kind": "group"}, "to": "b"})
    log.hear(0, "k")
    log.tell(10)
    assert [[event.kind for event in log.got(sink)] for sink in "ab"] == [["group"], ["group"]]


def test_what_is_too_large_for_a_group_goes_through_and_a_group_is_told_before_it_is_too_large() -> None:
    log = Log({"group": {"wait": "10s", "max": 1000}, "to": "a"})
    log.hear(0, "x" * MOST_BYTES)
    log.hear(0, "small")
    assert [event.kind for event in log.got()] == ["event"]
    for _ in range(5):
        log.hear(1, "x" * (MOST_BYTES // 3))
    assert [record["count"] for record in log.told("group")] == [4]


def test_all_groups_together_are_bounded_and_the_oldest_is_told_sooner_for_others() -> None:
    log = Log({"group": {"key": "args[0]", "wait": "1h"}, "to": "a"}, most_bytes=lambda: 10_000)
    for n in range(100):
        log.hear(n, n, "x" * 100)
    told = [record["key"] for record in log.told("group")]
    assert told == [str(n) for n in range(len(told))]
    assert 0 < log.holding._states.size <= 10_000
    assert log.holding.open["routes[0]"] == 100 - len(told)
    assert len(left(log.all_marks())) == 100 - len(told)


def test_groups_of_a_route_that_is_gone_are_told_to_the_sinks_that_it_had() -> None:
    log = Log(GROUP)
    log.hear(0, "k", 1)
    log.hear(1, "k", 2)
    log.routes = ({"to": "b"},)
    log.restart()
    log.tell(2)
    (event,) = (event for event in log.got("a") if event.kind == "group")
    assert (members(event.record()), event.record()["route"]) == ([["k", 1], ["k", 2]], None)
    assert left(log.all_marks()) == []


def test_a_route_may_move_and_change_its_bounds_and_goes_on() -> None:
    log = Log(GROUP)
    log.hear(0, "k", 1)
    log.routes = ({"to": "b"}, {**GROUP, "group": {"key": "args[0]", "wait": "20s"}})
    log.restart()
    log.hear(11, "k", 2)
    log.tell(20)
    (record,) = log.told("group")
    assert (record["route"], members(record)) == ("routes[1]", [["k", 1], ["k", 2]])


def test_records_can_be_grouped_too() -> None:
    log = Log({"match": {"kind": "gap"}, "group": {"wait": "5s"}, "to": "a"})
    for _ in range(3):
        details = {"cause": "connection", "reason": "r", "until": "", "since": None, "dropped": None}
        log.hear(0, kind="gap", details=details)
    log.tell(5)
    (record,) = (event.record() for event in log.got())
    assert [member["reason"] for member in record["members"]] == ["r"] * 3


def test_a_clock_that_is_set_back_delays_a_group_by_no_more_than_its_wait() -> None:
    log = Log(GROUP)
    log.hear(100_000, "k")
    log.tell(100_001)
    log.tell(0)
    log.tell(10)
    assert [record["count"] for record in log.told("group")] == [1]


@pytest.mark.parametrize(
    "args", [["k", b"\xff\x00"], ["k", float("nan")], ["k", {1: 1, "1": 2}], ["k", "\x1b[0m\r\n"]]
)
def test_members_look_as_the_events_themselves_would(args: list[Any]) -> None:
    log = Log(GROUP, {"to": "b"})
    log.hear(0, *args)
    log.tell(10)
    (event,) = (event for event in log.got("b") if event.kind == "event")
    (record,) = log.told("group")
    assert record["members"] == [event.record()]


steps = st.lists(
    st.tuples(
        st.sampled_from(["hear", "hear", "hear", "hear", "tell", "kill", "reload"]),
        st.floats(0, 8, allow_nan=False),
        st.sampled_from(["k", "j"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps)
def test_whatever_is_killed_each_event_that_lasts_is_in_one_group_in_time_and_no_other(
    done: list[tuple[str, float, str, int]],
) -> None:
    """The oracle looks at what is durable only."""
    log, now, alive = Log(GROUP), 0.0, []
    for number, (what, seconds, key, lost) in enumerate(done):
        now += seconds
        if what == "hear":
            log.hear(now, key, number)
        elif what == "tell":
            log.tell(now)
            alive = [event.id for event in log.events() if event.kind == "event"]
            told = {m["id"] for record in log.told("group") for m in record["members"]}
            assert all(
                e.received_us > log.now_us - 10 * 1_000_000
                for e in log.events()
                if e.id in alive and e.id not in told
            )
        elif what == "reload":
            log.reload()
        else:
            log.restart(keep=max(0, len(log.durable) - lost))
    log.tell(now + 11)
    told = [member["id"] for record in log.told("group") for member in record["members"]]
    assert sorted(told) == sorted(event.id for event in log.events() if event.kind == "event")
    assert all(record["count"] <= 3 for record in log.told("group"))
    assert left(log.all_marks()) == []


@pytest.mark.parametrize("depth", [MOST_LEVELS, 300, 480, 495, 505])
def test_a_deeply_nested_event_goes_through_by_itself_and_harms_no_member(depth: int) -> None:
    log = Log({"group": {"wait": "10s"}, "to": "a"})
    log.hear(0, "k", 1)
    deep = msgspec.structs.replace(
        Event.create("alerts", "x", received_us=log.now_us), payload=b"\x91" * depth + b"\x01"
    )
    log.append([(LANE, run_of(deep))])
    log.tell(10)
    (record,) = log.told("group")
    assert members(record)[0] == ["k", 1]
    shown = b"base64" in deep.json()  # too deep even for itself: bytes are not nested
    assert record["count"] == (2 if shown else 1)
    assert [event.id for event in log.got()].count(deep.id) == (0 if shown else 1)
