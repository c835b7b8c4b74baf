"""Routes that hold events back: within the bound whatever is killed, and nothing held back goes untold."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.holding import Holding
from tdbwatch.daemon.holding.holding import MOST_AT_ONCE
from tdbwatch.daemon.holding.trial import made
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Run, encode_run, heard, pack, run_of, unpack
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.plugin import Event

from .holding_kit import LANE, START, Log, left, router

THROTTLE = {"throttle": {"count": 2, "per": "10s", "key": "args[0]"}, "to": "a"}
DEDUPE = {"dedupe": {"window": "10s", "key": "args[0]"}, "to": "a"}


def test_a_throttle_lets_so_many_through_in_any_such_time() -> None:
    log = Log(THROTTLE)
    for at in (0, 1, 2, 9.9, 10.5, 10.6, 11.5, 12):
        log.hear(at, "k")
    assert [at for at, _ in log.passed()] == [0, 1, 10.5, 11.5]


def test_each_key_counts_for_itself_and_without_a_key_all_count_together() -> None:
    log = Log(THROTTLE)
    for key in ("a", "b", "a", "b", "a", {"n": 1}, 1, "1"):
        log.hear(1, key)
    assert [key for _, key in log.passed()] == ["a", "b", "a", "b", {"n": 1}, 1, "1"]
    log = Log({"throttle": {"count": 2, "per": "10s"}, "to": "a"})
    for key in "abc":
        log.hear(1, key)
    assert [key for _, key in log.passed()] == ["a", "b"]


def test_dedupe_lets_one_through_in_each_window_and_so_does_not_hide_what_goes_on() -> None:
    log = Log(DEDUPE)
    for at in range(25):
        log.hear(at, "k")
    assert [at for at, _ in log.passed()] == [0, 10, 20]


def test_an_event_without_a_key_goes_through_and_that_is_counted() -> None:
    log = Log(THROTTLE)
    for _ in range(5):
        log.hear(1)
    assert len([event for event in log.events() if not event.held]) == 5
    assert log.router.counts.failures["routes[0]"].reason.startswith("key: Index error")


def test_an_event_that_a_condition_fails_for_counts_once_though_it_is_asked_about_twice() -> None:
    log = Log({**DEDUPE, "where": "args[7]", "on_error": "match"}, {"set": {"x": "args[8]"}, "to": "a"})
    for at in range(3):
        log.hear(at, "k")
    assert log.router.counts.failures == {}, "no sink has come to them"
    assert len(log.got()) == 3
    assert {path: one.count for path, one in log.router.counts.failures.items()} == {
        "routes[0]": 3,
        "routes[1]": 3,
    }


def test_other_routes_get_what_one_holds_back_unless_it_stops() -> None:
    log = Log(DEDUPE, {"to": "b"})
    for _ in range(3):
        log.hear(1, "k")
    assert (len(log.passed("a")), len(log.passed("b"))) == (1, 3)
    log = Log({**DEDUPE, "stop": True}, {"to": "b"})
    for _ in range(3):
        log.hear(1, "k")
    assert (len(log.passed("a")), len(log.passed("b"))) == (1, 0)


def test_conditions_are_asked_first_and_only_what_matches_counts() -> None:
    log = Log({**THROTTLE, "where": "args[1] > 5"})
    for n in (1, 9, 2, 8, 3, 7):
        log.hear(1, "k", n)
    assert [event.args[1] for event in log.events() if log.router.matcher("a")(event)] == [9, 8]


def test_what_was_held_back_is_told_once_in_each_window() -> None:
    log = Log(DEDUPE)
    for at in (0, 1, 2, 3):
        log.hear(at, "k")
    for at in (5, 10.9, 11, 11.5, 12):
        log.tell(at)
    (told,) = log.told()
    assert {key: told[key] for key in ("kind", "room", "route", "key", "count")} == {
        "kind": "suppressed",
        "room": "alerts",
        "route": "routes[0]",
        "key": "k",
        "count": 3,
    }
    assert (told["since"][-10:-1], told["until"][-10:-1]) == ("21.000000", "23.000000")
    log.hear(12, "k")
    log.hear(13, "k")
    log.tell(24)
    assert [record["count"] for record in log.told()] == [3, 1]
    assert log.router.counts.held == {"routes[0]": 4}


def test_what_is_over_is_forgotten() -> None:
    log = Log(THROTTLE)
    log.hear(0, "k")
    log.tell(11)
    (mark,) = (mark for mark in log.all_marks() if not mark.state)
    assert mark.key == "k"
    assert left(log.all_marks()) == []


def test_a_run_is_cut_where_decisions_differ_and_keeps_order_and_ids() -> None:
    log = Log(THROTTLE)
    events = [Event.create("alerts", name, [key]) for name, key in zip("abcdef", "kkkkjk", strict=True)]
    first = run_of(events[0])
    run = Run(
        first.id, START, "event", 1, (), [e.event for e in events], [run_of(e).payloads[0] for e in events]
    )
    log.append([(LANE, run)])
    assert [event.event for event in log.events()] == list("abcdef")
    assert [event.id for event in log.events()] == [event.id for event in run.unpacked(LANE)]
    assert [bool(event.held) for event in log.events()] == [False, False, True, True, False, True]


def test_a_clock_that_is_set_back_holds_nothing_back_for_long() -> None:
    log = Log(DEDUPE)
    log.hear(100_000, "k")
    log.hear(0, "k")
    log.hear(1, "k")
    assert [at for at, _ in log.passed()] == [100_000, 0]


def test_keys_are_bounded_and_what_is_given_up_for_others_is_told() -> None:
    log = Log(DEDUPE, most_keys=10)
    for n in (0, 0, *range(1, 30)):
        log.hear(0, n)
    assert len(log.holding._states.by_key) == 10
    assert [(record["key"], record["count"]) for record in log.told()] == [("0", 1)]
    log.tell(0)
    assert len(left(log.all_marks())) == 10


def test_what_is_decided_lies_in_the_block_and_what_is_remembered_does_not() -> None:
    log = Log(DEDUPE)
    log.hear(0, "secret-key")
    log.hear(0, "secret-key")
    runs = [run for _, run in log.durable]
    assert all(run.marks for run in runs)
    again = unpack(pack([encode_run(run) for run in runs]))
    assert [bool(run.held) for run in again] == [False, True]
    assert [run.marks for run in again] == [(), ()]


steps = st.lists(
    st.tuples(
        st.sampled_from(["hear", "hear", "hear", "hear", "tell", "kill", "reload"]),
        st.floats(0, 8, allow_nan=False),
        st.sampled_from(["k", "j"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=80)
@given(steps, st.sampled_from([THROTTLE, DEDUPE]))
def test_whatever_is_killed_no_more_gets_through_and_all_that_was_held_back_is_told(
    done: list[tuple[str, float, str, int]], route: dict[str, Any]
) -> None:
    """The oracle looks at what is durable only."""
    log, now = Log(route), 0.0
    most = 2 if "throttle" in route else 1
    for what, seconds, key, lost in done:
        now += seconds
        if what == "hear":
            log.hear(now, key)
        elif what == "tell":
            log.tell(now)
        elif what == "reload":
            log.reload()
        else:
            log.restart(keep=max(0, len(log.durable) - lost))
    for key in "kj":
        times = [at for at, of in log.passed() if of == key]
        assert all(sum(at <= other < at + 9.999 for other in times) <= most for at in times)
    log.tell(now + 20)
    log.tell(now + 40)
    held = sum(bool(event.held) for event in log.events())
    assert sum(record["count"] for record in log.told()) == held


async def test_what_routes_remember_is_in_the_commit_of_the_event(tmp_path: Path) -> None:
    spool = SqliteSpool(tmp_path / "spool.db", Limits(), sinks=["a"])
    await spool.open()
    holding = Holding(router(DEDUPE), made)
    for _ in range(2):
        spool.append(holding.heard(heard([Event.create("alerts", "x", ["k"])])))
        await spool.flush()
    before = await spool.marks()
    assert [mark.key for mark in before] == ["k"]
    await spool.close()
    spool = SqliteSpool(tmp_path / "spool.db", Limits(), sinks=["a"])
    await spool.open()
    assert await spool.marks() == before
    events = [event for block in await spool.read(0, 1 << 20) for event in block.events]
    assert [bool(event.held) for event in events] == [False, True]
    await spool.close()


def test_marks_of_routes_that_are_gone_or_of_nonsense_are_forgotten() -> None:
    holding = Holding(router(DEDUPE), made)
    (key,) = router(DEDUPE).holding
    holding.load(
        [Mark("throttle:gone", "k", 0, b"\x91\x90"), Mark(key, "k", 0, b"\xc1"), Mark("?", "", 0, b"")], 0
    )
    assert {mark.route for mark in holding.due(0).marks if not mark.state} == {"throttle:gone", key, "?"}


@pytest.mark.parametrize("routes", [[], [{"to": "a"}]])
def test_without_such_a_route_nothing_is_touched(routes: list[dict[str, Any]]) -> None:
    events = heard([Event.create()])
    assert Holding(router(*routes), made).heard(events) is events


MANY = 2 * MOST_AT_ONCE + 100


def many_keys(*routes: dict[str, Any]) -> Log:
    """Of each of many keys one event was let through, and one held back."""
    log = Log(*routes)
    for n in range(MANY):
        log.hear(0, n)
        log.hear(0, n)
    return log


def test_a_reload_reads_nothing_anew_of_routes_that_stay() -> None:
    log = many_keys(DEDUPE, {"to": "b"})
    before = dict(log.holding._states.by_key)
    log.routes = ({"to": "b"}, {**DEDUPE, "dedupe": {**DEDUPE["dedupe"], "window": "1h"}})
    log.reload()
    assert all(log.holding._states.by_key[key] is state for key, state in before.items())
    log.hear(20, 7)
    assert log.events()[-1].held, "the new window holds"


@pytest.mark.parametrize("routes", [(), ({**DEDUPE, "dedupe": {**DEDUPE["dedupe"], "window": "1s"}},)])
def test_very_much_that_is_due_at_once_is_told_bit_by_bit(routes: tuple[dict[str, Any], ...]) -> None:
    log = many_keys(DEDUPE)
    log.at = 5
    log.routes = routes
    log.reload()
    counts = [len(log.told())]
    while (due_us := log.holding.next_us) is not None and due_us <= log.now_us:
        log.tell(5)
        counts.append(len(log.told()))
    assert counts == [MOST_AT_ONCE, 2 * MOST_AT_ONCE, MANY]
    assert sum(record["count"] for record in log.told()) == MANY
    assert left(log.all_marks()) == []


def test_a_route_that_is_back_before_all_of_it_was_told_goes_on() -> None:
    log = many_keys(DEDUPE)
    log.routes = ()
    log.reload()
    log.routes = (DEDUPE,)
    log.reload()
    last = len(log.events())
    log.hear(1, MANY - 1)
    assert [event.held for event in log.events()[last:] if event.kind == "event"] != [()]
    log.tell(30)
    while (due_us := log.holding.next_us) is not None and due_us <= log.now_us:
        log.tell(30)
    assert sum(record["count"] for record in log.told()) == MANY + 1
    assert left(log.all_marks()) == []
