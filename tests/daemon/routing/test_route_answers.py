"""What routes say of the blocks of the log: what each sink gets of one, and that it counts once."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.couriers.reading import Wanted
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, encode_run, pack, run_of
from tdbwatch.plugin import Event

SINKS = ["a", "b", "c"]


def router(*routes: dict[str, Any]) -> Router:
    return Router.of_names([RouteConfig.model_validate_json(json.dumps(route)) for route in routes], SINKS)


def event(room: str = "alerts", name: str = "disk-full", **more: Any) -> Event:
    return Event.create(room, name, **more)


def block_of(first_seq: int, *events: Event, target: str | None = None) -> Block:
    """A block of the log with these events."""
    runs = [encode_run(run_of(one)) for one in events]
    return Block(first_seq, len(events), Lane(events[0].scope, events[0].room), target, pack(runs))


def given_to(made: Router, block: Block, sinks: Iterable[str] = "abc") -> dict[str, dict[Any, Any]]:
    """What sinks that come to a block one after the other get of it: by the first argument, the fields."""
    found = {}
    for sink in sinks:
        if (piece := Wanted(sink, made.matcher(sink)).piece(block, 0)) is not None:
            found[sink] = {event.args[0]: event.fields for event in piece.events}
    return found


def test_large_fields_are_not_kept_and_their_failures_count_once():
    """Thousands of events whose small arguments become large fields would be gigabytes."""
    asked = router({"set": {"copy": "args[0]", "gone": "args[9]"}, "to": ["a", "b"]})
    blocks = [block_of(seq, event(args=[large])) for seq, large in enumerate(LARGE * 3, 1)]
    tracemalloc.start()
    try:
        for block in blocks:
            for sink in "ab":
                [got] = asked.answers.given(block, sink).values()
                assert got.fields == {"copy": got.args[0]}
            del got
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert asked.remembered == 1, "the answer for the name"
    assert asked.counts.failures["routes[0]"].count == 9


LARGE: list[Any] = ["y" * 10_000, [[]] * 8_000, {"a": ["y"] * 8_000}]


@given(st.lists(st.lists(st.sampled_from(["disk-full", "cpu-high", "login"]), min_size=1), max_size=5))
def test_what_routes_match_is_counted_once_however_many_sinks_come_to_it(blocks: list[list[str]]):
    made = router({"match": {"event": "disk-*"}, "to": ["a", "b"]}, {"match": {"event": "[dc]*"}, "to": "b"})
    seq = 1
    log = []
    for names in blocks:
        run = run_of(event())
        run = msgspec.structs.replace(run, events=names, payloads=[msgspec.Raw(b"\x90")] * len(names))
        log.append(Block(seq, len(names), Lane("//stuff", "alerts"), None, pack([encode_run(run)])))
        seq += len(names)
    for sink in "abb":
        for block in log:
            made.matcher(sink).count(block)
    names = [name for block in blocks for name in block]
    assert made.counts.matched["routes[0]"] == names.count("disk-full")
    assert made.counts.matched["routes[1]"] == names.count("disk-full") + names.count("cpu-high")


def numbered(first_seq: int, *numbers: int, target: str | None = None, name: str = "n") -> Block:
    return block_of(first_seq, *[event(name=name, args=[number]) for number in numbers], target=target)


def test_a_route_with_a_condition_counts_what_it_held_for():
    made = router({"where": "args[0] > 1", "to": ["a", "b"]}, {"to": "b"})
    assert given_to(made, numbered(1, 0, 1, 2, 3), "ab") == {
        "a": {2: {}, 3: {}},
        "b": {0: {}, 1: {}, 2: {}, 3: {}},
    }
    assert made.counts.matched == {"routes[0]": 2, "routes[1]": 4}
    assert made.paths == ["routes[0]", "routes[1]"]


def test_sinks_that_share_a_block_share_what_routes_say_of_it():
    made = router({"where": "args[0] > 1", "set": {"twice": "args[0] * 2"}, "to": ["a", "b"]})
    block = numbered(1, 1, 2, 3)
    got = made.answers.given(block, "a")
    assert {seq: event.fields for seq, event in got.items()} == {2: {"twice": 4}, 3: {"twice": 6}}
    assert made.remembered == 2
    other = made.answers.given(block, "b")
    assert other.keys() == got.keys()
    assert all(other[seq] is event for seq, event in got.items())
    assert made.remembered == 1, "all sinks have theirs"
    assert made.answers.given(block, "a").keys() == got.keys(), "one may ask again"
    assert made.counts.matched == {"routes[0]": 2}


def test_what_a_sink_does_not_come_for_is_kept_no_longer_than_the_block():
    made = router({"where": "args[0] > 1", "to": ["a", "b"]})
    block = numbered(1, 1, 2, 3)
    made.answers.given(block, "a")
    assert made.remembered == 2
    del block
    assert made.remembered == 1


def test_what_matches_and_fails_counts_once_however_far_a_sink_is_behind():
    made = router({"where": "args[0] % 2 == 0", "to": ["a", "b"]}, {"where": "args[7]", "to": "b"})
    for sink in "aabcb":  # each reads the log anew, as from the file
        for number in range(5):
            given_to(made, numbered(number * 1000 + 1, *range(1000)), sink)
    assert made.counts.matched == {"routes[0]": 2500}
    assert made.counts.failures["routes[1]"].count == 5000


@given(st.lists(st.tuples(st.sampled_from("wxyz"), st.integers(0, 3)), max_size=6), st.permutations("aabbcc"))
def test_what_routes_must_be_asked_about_counts_once_whoever_comes_first(
    blocks: list[tuple[str, int]], order: list[str]
):
    """A sink that no route must be asked about for passes a block by, and does not count it for others."""
    made = router(
        {"match": {"event": "x"}, "where": "args[0] > 0", "to": "a"},
        {"match": {"event": "y"}, "where": "args[0] > 1", "to": "b"},
        {"match": {"event": "w"}, "where": "args[0] > 2", "to": ["a", "b"]},
        {"match": {"event": "z"}, "to": ["a", "c"]},
    )
    for sink in order:
        for seq, (name, number) in enumerate(blocks, 1):
            given_to(made, numbered(seq, number, name=name), sink)
    assert +made.counts.matched == +Counter(
        {
            "routes[0]": sum(name == "x" and number > 0 for name, number in blocks),
            "routes[1]": sum(name == "y" and number > 1 for name, number in blocks),
            "routes[2]": sum(name == "w" and number > 2 for name, number in blocks),
            "routes[3]": sum(name == "z" for name, _ in blocks),
        }
    )


def test_a_replay_is_asked_about_by_the_routes_of_now_and_its_failures_count():
    made = router({"where": "args[0] > 1", "set": {"x": "args[1]"}, "to": ["a", "b"]})
    again = numbered(1, 1, 2, target="b")
    assert given_to(made, again) == {"b": {1: {}, 2: {}}}, "what is sent to it alone it keeps"
    assert (made.counts.matched, made.counts.failures["routes[0]"].count) == ({}, 1)


def test_records_for_sinks_of_their_own_come_to_these_and_are_counted_once():
    made = router({"match": {"kind": "group"}, "where": "details.n > 1", "to": "b"})
    record = Event.create("alerts", "n", kind="group", details={"n": 2})
    for sink in "cbac":  # each reads the log anew
        block = block_of(1, replace(record, to=("c",)))
        assert list(made.answers.given(block, sink)) == ([1] if sink in "bc" else [])
    assert made.counts.matched == {"routes[0]": 1}


def test_an_event_that_is_too_large_to_be_asked_about_comes_to_all_that_may_want_it():
    made = router({"where": "args[0] > 1", "to": "a"}, {"match": {"event": "x"}, "to": "b"})
    large = replace(event(), payload=b"\xdd\x00\x1e\x84\x80" + b"\x00" * 2_000_000)
    assert [list(made.answers.given(block_of(1, large), sink)) for sink in "ab"] == [[1], []]
    assert made.counts.failures == {}
