"""Absences: told once when nothing came for a time, and once when it is back; honest where we were deaf."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.intake.causes import Cause, Silence

from .holding_kit import LANE, Log, left

BEAT = {"name": "no-beat", "match": {"room": "alerts"}, "after": "10s", "to": "a"}
DOWN = Silence(0.0, Cause.CONNECTION, "no node")
GAP = {"reason": "no node", "since": None, "dropped": None}


def shown(log: Log) -> list[tuple[Any, ...]]:
    return [
        (record["over"], record["since"][-10:-1], record["seconds"], record["heard"])
        for record in log.told("absence")
    ]


def test_it_is_told_once_after_the_time_and_once_when_it_is_back() -> None:
    log = Log(absences=[BEAT])
    for at in (0, 9, 18):
        log.hear(at)
        log.tell(at)
    log.tell(27.9)
    assert log.told("absence") == []
    for at in (28, 29, 60):
        log.tell(at)
    (record,) = (event.record() for event in log.got("a") if event.kind == "absence")
    assert {key: record[key] for key in ("kind", "event", "room", "scope", "name", "over", "heard")} == {
        "kind": "absence",
        "event": "no-beat",
        "room": "alerts",
        "scope": "//stuff",
        "name": "no-beat",
        "over": False,
        "heard": True,
    }
    assert (record["since"][-10:-1], record["until"], record["seconds"]) == ("38.000000", None, 10.0)
    log.hear(61)
    log.hear(61.5)
    assert shown(log) == [(False, "38.000000", 10.0, True), (True, "38.000000", 43.0, True)]
    assert log.told("absence")[1]["until"][-10:-1] == "21.000000"
    log.tell(71.4)
    assert shown(log)[2:] == []
    log.tell(71.5)
    assert shown(log)[2:] == [(False, "21.500000", 10.0, True)]


def test_the_event_that_ends_it_comes_before_the_record_that_says_so() -> None:
    log = Log(absences=[BEAT])
    log.tell(10)
    log.hear(11)
    assert [str(event.kind) for event in log.events()] == ["absence", "event", "absence"]


def test_only_what_matches_counts_and_stop_and_routes_do_not_matter() -> None:
    absence = {**BEAT, "match": {"event": "beat"}, "where": "args[0] == 'ok'"}
    log = Log({"to": [], "stop": True}, absences=[absence])
    log.hear(5, "ok", event="beat")
    log.hear(9, "ok", event="other")
    log.hear(9, "bad", event="beat")
    log.hear(9, event="beat")
    assert log.router.counts.failures["absences[0]"].reason.startswith("where: Index error")
    log.tell(15)
    assert [since for _, since, *_ in shown(log)] == ["25.000000"]
    log = Log(absences=[{**absence, "on_error": "match"}])
    log.hear(9, event="beat")
    log.tell(15)
    assert shown(log) == []


def test_without_any_event_the_clock_starts_with_the_daemon_and_goes_on_over_restarts() -> None:
    log = Log(absences=[BEAT])
    log.tell(1)
    log.restart(at=6)
    log.tell(9.9)
    assert shown(log) == []
    log.tell(11)
    assert len(shown(log)) == 1
    log.restart(at=20)
    log.tell(40)
    log.hear(41)
    assert [over for over, *_ in shown(log)] == [False, True]


def test_a_restart_within_the_time_neither_forgets_nor_tells_too_early() -> None:
    log = Log(absences=[BEAT])
    for at in (0.0, 0.4, 3.3):
        log.hear(at)
    log.restart(at=5)
    log.tell(13.2)
    assert shown(log) == []
    log.tell(14.3)
    assert len(shown(log)) == 1


def test_it_says_so_while_its_room_is_not_heard() -> None:
    log = Log(absences=[BEAT])
    log.hear(0)
    log.silence = DOWN
    log.tell(10)
    (record,) = log.told("absence")
    assert (record["heard"], record["cause"], record["reason"]) == (False, "connection", "no node")
    log.silence = None
    log.hear(20)
    log.tell(30)
    assert [heard for *_, heard in shown(log)] == [False, False, True]


def test_when_all_was_heard_for_so_long_after_all_it_is_told_again_as_sure() -> None:
    log = Log(absences=[BEAT])
    log.hear(0)
    log.silence = DOWN
    for at in (10, 15, 21):
        log.tell(at)
    log.silence = None
    log.at = 22
    log.hear(22, kind="gap", details={**GAP, "cause": "connection", "until": log.now_text})
    log.restart(at=24)
    log.tell(31.9)
    assert shown(log) == [(False, "20.000000", 10.0, False)]
    for at in (32, 33, 60):
        log.tell(at)
    assert shown(log)[1:] == [(False, "20.000000", 32.0, True)]
    assert log.told("absence")[1]["cause"] is None
    log.hear(70)
    log.tell(71)
    assert shown(log)[2:] == [(True, "20.000000", 70.0, True)]
    log.tell(75)
    assert len(log.holding._states._times) == 1


@pytest.mark.parametrize(
    ("cause", "until", "heard"),
    [("connection", 5, False), ("unreadable", 5, False), ("connection", -5, True), ("spool", 5, True)],
)
def test_a_gap_since_the_last_time_counts_if_it_could_have_been_missed(
    cause: str, until: float, heard: bool
) -> None:
    log = Log(absences=[BEAT])
    log.hear(0)
    log.at = until
    details = {**GAP, "cause": cause, "until": log.now_text}
    log.hear(6, kind="gap", details=details)
    log.restart(at=8)
    log.tell(11)
    assert [one for *_, one in shown(log)] == [heard]


def test_it_goes_to_its_sinks_and_to_those_of_routes_for_its_kind() -> None:
    routes = [{"match": {"kind": "absence", "event": "no-*"}, "where": "details.heard", "to": "b"}]
    log = Log(*routes, absences=[BEAT, {**BEAT, "name": "silent", "to": []}])
    log.tell(10)
    assert [[event.event for event in log.got(sink)] for sink in "ab"] == [["no-beat"], ["no-beat"]]


def test_what_an_absence_waits_for_needs_no_route() -> None:
    routes = [{"match": {"event": "other"}, "to": "a"}]
    assert Log(*routes).router.unrouted(LANE, ["x", "other"]) == 1
    assert Log(*routes, absences=[BEAT]).router.unrouted(LANE, ["x", "other"]) == 0
    beat = {**BEAT, "match": {"event": "x"}}
    assert Log(*routes, absences=[beat]).router.unrouted(LANE, ["x", "y"]) == 1


def test_when_the_daemon_stood_still_it_says_so() -> None:
    log = Log(absences=[BEAT])
    log.hear(0)
    log.at = 100
    log.holding.unheard("stall", "it stood still", log.now_us)
    log.tell(101)
    assert [(record["heard"], record["cause"]) for record in log.told("absence")] == [(False, "stall")]


def test_a_clock_that_is_set_back_begins_the_time_anew() -> None:
    log = Log(absences=[BEAT])
    log.hear(1000)
    log.tell(1000)
    log.tell(0)
    log.tell(9)
    assert shown(log) == []
    log.tell(10)
    assert len(shown(log)) == 1


def test_what_came_while_nobody_could_tell_that_it_is_back_counts() -> None:
    log = Log(absences=[BEAT])
    log.tell(10)
    log.hear(12)
    log.restart(keep=len(log.durable) - 1)  # without the record that says so
    log.hear(22)
    log.tell(31.9)
    assert [(over, seconds) for over, _, seconds, _ in shown(log)] == [(False, 10.0), (True, 12.0)]


@pytest.mark.parametrize("way", [Log.restart, Log.reload])
def test_one_that_is_removed_is_forgotten(way: Callable[[Log], None]) -> None:
    log = Log(absences=[BEAT])
    log.tell(10)
    log.hear(10.5)
    log.absences = []
    way(log)
    log.tell(11)
    log.hear(12)
    assert left(log.all_marks()) == []


def test_many_events_are_remembered_once_a_second() -> None:
    log = Log(absences=[BEAT])
    for n in range(100):
        log.hear(n / 50)
    assert len(log.all_marks()) <= 4


steps = st.lists(
    st.tuples(
        st.sampled_from(["hear", "hear", "tell", "tell", "kill"]),
        st.floats(0, 8, allow_nan=False),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps)
def test_whatever_is_killed_it_is_told_when_it_is_true_and_once(done: list[tuple[str, float, int]]) -> None:
    """The oracle looks at what is durable only."""
    log, now = Log(absences=[BEAT]), 0.0
    for what, seconds, lost in done:
        now += seconds
        if what == "hear":
            log.hear(now)
        elif what == "tell":
            log.tell(now)
        else:
            log.restart(keep=max(0, len(log.durable) - lost), at=now)
    log.tell(now + 12)
    last, absent = 0, False
    for event in log.events():
        if event.kind == "absence":
            assert event.details["over"] is absent, "each is told once"
            absent = not absent
            assert not absent or event.received_us - last >= 10_000_000 or not last
        else:
            last = event.received_us
    assert absent, "it is silent in the end"
