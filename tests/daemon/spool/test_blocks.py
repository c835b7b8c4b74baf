"""Runs and blocks: what is put in comes out, however it was grouped."""

import gc
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.spool.stored.blocks import (
    Block,
    Lane,
    Run,
    encode_run,
    halves,
    heard,
    pack,
    run_of,
    squeeze,
    unpack,
    unsqueeze,
)
from tdbwatch.plugin import Event
from tdbwatch.plugin.event import Header
from tdbwatch.plugin.ids import IdMint, ids_from
from tdbwatch.testing import ManualClock
from tdbwatch.wire.codec import encode

LANE = Lane("//stuff", "alerts")
names = st.text(max_size=5)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
spoken = st.tuples(names, st.lists(values, max_size=3))
shared = st.tuples(
    st.none() | st.integers(0, 2**64 - 1), st.lists(names, max_size=2).map(tuple), st.integers(0, 1 << 50)
)
turns = st.lists(st.tuples(shared, st.lists(spoken, min_size=1, max_size=6)), min_size=1, max_size=5)


def run_from(mint: IdMint, common: object, said: object) -> Run:
    room_id, arg_names, us = common  # type: ignore[misc]
    first_id, count, _ = mint.mint_run(len(said))  # type: ignore[arg-type]
    assert count == len(said)  # type: ignore[arg-type]
    events, payloads = [name for name, _ in said], [msgspec.Raw(encode(args)) for _, args in said]  # type: ignore[attr-defined]
    return Run(first_id, us, "event", room_id, arg_names, events, payloads)


@given(turns)
def test_a_block_has_the_events_of_its_runs_in_order(made: list[tuple[object, object]]) -> None:
    mint = IdMint(ManualClock())
    runs = [run_from(mint, common, said) for common, said in made]
    sent = [event for run in runs for event in run.unpacked(LANE)]
    block = Block(7, len(sent), LANE, None, pack([encode_run(run) for run in runs]))
    assert block.events == sent
    assert (
        [seq for seq, _ in block.numbered()]
        == list(range(7, 7 + len(sent)))
        == list(range(block.first_seq, block.last_seq + 1))
    )
    said = [(name, args) for _, each in made for name, args in each]  # type: ignore[attr-defined]
    assert [(event.event, event.args) for event in block.events] == said
    assert len({event.id for event in sent}) == len(sent)
    assert sorted(event.id for event in sent) == [event.id for event in sent]


@given(turns, st.data())
def test_some_events_of_a_block_are_those_of_all(
    made: list[tuple[object, object]], data: st.DataObject
) -> None:
    mint = IdMint(ManualClock())
    runs = [run_from(mint, common, said) for common, said in made]
    count = sum(len(run.events) for run in runs)
    body = pack([encode_run(run) for run in runs])
    seqs = sorted(data.draw(st.sets(st.integers(7, 6 + count))))
    block = Block(7, count, LANE, None, body)
    some = block.some(seqs)
    assert some == [block.events[seq - 7] for seq in seqs] == block.some(seqs)


def said_by(one: Header | Event) -> tuple[object, ...]:
    return one.kind, one.received_us, one.scope, one.room, one.event


@given(turns)
def test_records_made_without_events_are_those_of_the_events(made: list[tuple[object, object]]) -> None:
    mint = IdMint(ManualClock())
    runs = [run_from(mint, common, said) for common, said in made]
    body = pack([encode_run(run) for run in runs])
    count = sum(len(run.events) for run in runs)
    block, other = Block(1, count, LANE, None, body), Block(1, count, LANE, None, body)
    assert block.lines == [event.json() for event in other.events] == other.lines
    assert [block.received_us(seq) for seq, _ in block.numbered()] == [e.received_us for e in block.events]
    assert block.names == [(event.kind, event.event) for event in block.events]
    assert block.distinct_names == set(block.names)
    fresh = Block(1, count, LANE, None, body)
    assert [said_by(header) for header in fresh.headers] == [said_by(event) for event in other.events]
    assert [said_by(header) for header in other.headers] == [said_by(event) for event in other.events]


def test_a_block_of_large_events_and_small_ones_has_the_records_of_both() -> None:
    sent = [Event.create("alerts", "e", ["x" * size, float("nan"), None]) for size in (1, 300_000, 1)] * 100
    block = Block(1, len(sent), LANE, None, pack([encode_run(run) for _, run in heard(sent)]))
    assert block.lines == [event.json() for event in sent]


@pytest.mark.parametrize("body", [1, 30])
@pytest.mark.parametrize(("runs", "each"), [(1, 100), (10, 10), (1, 10), (5, 1), (1, 1)])
def test_what_a_block_is_said_to_take_in_memory_is_about_what_it_takes(
    runs: int, each: int, body: int
) -> None:
    """Else the newest blocks, of which so many bytes are kept, are far more where events come one by one."""
    mint = IdMint(ManualClock())

    def made() -> Block:
        said = [run_from(mint, (7, (), 1), [("counted", [1000] * body)] * each) for _ in range(runs)]
        return Block(1, runs * each, Lane("//stuff", "alerts"), None, pack([encode_run(run) for run in said]))

    assert made().lines, "what is made once for all blocks is made"
    tracemalloc.start()
    try:
        blocks = [made() for _ in range(400 // (runs * each))]
        assert all(block.lines for block in blocks)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.6 < taken / sum(block.weight for block in blocks) < 1.4


@given(turns)
def test_an_event_is_the_same_alone_and_in_company(made: list[tuple[object, object]]) -> None:
    mint = IdMint(ManualClock())
    sent = [event for common, said in made for event in run_from(mint, common, said).unpacked(LANE)]
    assert [event for lane, run in heard(sent) for event in run.unpacked(lane)] == sent
    assert unpack(pack([encode_run(run_of(event)) for event in sent])) == [run_of(event) for event in sent]


@given(shared, st.lists(spoken, min_size=2, max_size=9))
def test_halves_of_a_run_are_the_run(common: object, said: object) -> None:
    run = run_from(IdMint(ManualClock()), common, said)
    first, second = halves(run)
    assert [*first.unpacked(LANE), *second.unpacked(LANE)] == run.unpacked(LANE)
    assert abs(len(first.events) - len(second.events)) <= 1


def test_ids_that_follow_each_other_are_split_right_also_at_the_end_of_the_counter() -> None:
    first_id, count, us = IdMint(ManualClock()).mint_run(10_000)
    assert count == 4096
    run = Run(first_id, us, "event", 1, (), ["e"] * count, [msgspec.Raw(b"\x90")] * count)
    parts = [run]
    while len(parts) < count:
        parts = [half for part in parts for half in halves(part)]
    assert [event.id for part in parts for event in part.unpacked(LANE)] == list(ids_from(first_id, count))


@pytest.mark.parametrize("count", [1, 15, 16, 65_535, 65_536])
def test_a_block_of_any_number_of_runs_is_read_again(count: int) -> None:
    run = run_of(Event.create("r"))
    block = Block(1, count, LANE, None, pack([encode_run(run)] * count))
    assert len(block.runs) == count


def test_a_block_that_does_not_have_as_many_events_as_it_should_makes_no_sense() -> None:
    body = pack([encode_run(run_of(Event.create("r")))])
    for count, spoilt in ((2, body), (1, body[:-1]), (1, b""), (1, body + b"x"), (1, b"\xc0")):
        with pytest.raises(ValueError):
            assert Block(1, count, LANE, None, spoilt).events


def test_a_squeezed_body_opens_to_what_it_was_and_any_other_is_left_alone() -> None:
    body = pack([encode_run(run) for _, run in heard([Event.create("alerts", "e", [n]) for n in range(50)])])
    assert len(squeeze(body)) < len(body)
    assert unsqueeze(squeeze(body)) == unsqueeze(body) == body
    with pytest.raises(ValueError, match="squeezed"):
        unsqueeze(squeeze(body)[:-8])
