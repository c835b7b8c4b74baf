"""Blocks that are spoilt within: whatever the damage, it costs only what it has hit, and raises nothing."""

from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.spool.stored.blocks import Block, Lane, Run, encode_run, pack, squeeze
from tdbwatch.daemon.spool.survival.salvage import opened, salvaged
from tdbwatch.plugin import Event
from tdbwatch.plugin.ids import IdMint

LANE = Lane("//stuff", "alerts")
FIRST = 100


def run_of(count: int, mint: IdMint) -> Run:
    first, count, now_us = mint.mint_run(count)
    payloads = [Event.create("", "", [number]).payload for number in range(count)]
    return Run(first, now_us, "event", 3, ("n",), ["e"] * count, payloads)


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=20)


def block_of(counts: list[int]) -> tuple[Block, list[Run]]:
    mint = IdMint()
    runs = [run_of(count, mint) for count in counts]
    return Block(FIRST, sum(counts), LANE, None, pack(list(map(encode_run, runs)))), runs


def ids_by_seq(blocks: list[Block]) -> dict[int, str]:
    return {seq: event.id for block in blocks for seq, event in block.numbered()}


def spoilt(block: Block, body: bytes) -> Block:
    return Block(block.first_seq, block.count, block.lane, block.target, body)


@given(sizes)
def test_a_block_with_nothing_wrong_is_left_as_it_is(counts: list[int]) -> None:
    block, _ = block_of(counts)
    assert salvaged(block) == [block]


@given(sizes, st.data())
def test_a_body_cut_short_keeps_every_run_before_the_cut_under_its_number(
    counts: list[int], data: st.DataObject
) -> None:
    block, runs = block_of(counts)
    end = data.draw(st.integers(0, len(block.body) - 1))
    head = len(block.body) - sum(len(encode_run(run)) for run in runs)
    whole, at = 0, head
    for run in runs:
        at += len(encode_run(run))
        whole += len(run.events) if at <= end else 0
    found = ids_by_seq(salvaged(spoilt(block, block.body[:end])))
    expected = ids_by_seq([block])
    assert found == {seq: expected[seq] for seq in range(FIRST, FIRST + whole)}


@given(sizes, st.data())
def test_runs_that_are_nonsense_cost_themselves_and_no_other_gets_a_lower_number(
    counts: list[int], data: st.DataObject
) -> None:
    block, runs = block_of(counts)
    bad = data.draw(st.sets(st.integers(0, len(runs) - 1), min_size=1))
    nonsense = data.draw(st.sampled_from([b"\xc0", b"\x97\xc0\xc0\xc0\xc0\xc0\xc0\xc0", b"\xa1\xff"]))
    packed = [nonsense if number in bad else encode_run(run) for number, run in enumerate(runs)]
    found = ids_by_seq(salvaged(spoilt(block, pack(packed))))
    places = {event_id: seq for seq, event_id in ids_by_seq([block]).items()}
    good = [e.id for number, run in enumerate(runs) if number not in bad for e in run.unpacked(LANE)]
    assert [found[seq] for seq in sorted(found)] == good, "in order, and all of them"
    assert all(seq >= places[event_id] for seq, event_id in found.items())
    assert all(block.first_seq <= seq <= block.last_seq for seq in found)


@given(sizes, st.data())
def test_a_flipped_bit_raises_nothing_and_leaves_what_is_before_it(
    counts: list[int], data: st.DataObject
) -> None:
    block, runs = block_of(counts)
    bit = data.draw(st.integers(0, 8 * len(block.body) - 1))
    body = bytearray(block.body)
    body[bit // 8] ^= 1 << bit % 8
    parts = salvaged(spoilt(block, bytes(body)))
    found, expected = ids_by_seq(parts), ids_by_seq([block])
    at = len(block.body) - sum(len(encode_run(run)) for run in runs)
    seq = FIRST
    for run in runs:
        at += len(encode_run(run))
        if bit // 8 < at or bit // 8 < 5:
            break
        for _ in run.events:
            assert found[seq] == expected[seq]
            seq += 1


@given(sizes, st.integers(1, 200))
def test_a_wrong_count_is_put_right(counts: list[int], count: int) -> None:
    block, _ = block_of(counts)
    wrong = Block(FIRST, count, LANE, "s", block.body)
    assert ids_by_seq(salvaged(wrong)) == ids_by_seq([block])
    assert {part.target for part in salvaged(wrong)} == {"s"}


@given(st.binary(max_size=200), st.integers(1, 100))
def test_garbage_raises_nothing(body: bytes, count: int) -> None:
    for part in salvaged(Block(FIRST, count, LANE, None, body)):
        assert part.events


@given(sizes, st.floats(0, 1))
def test_a_squeezed_body_opens_as_far_as_it_is_there(counts: list[int], share: float) -> None:
    body = block_of(counts)[0].body
    stored = squeeze(body)
    assert (opened(body), opened(stored)) == (body, body)
    end = int(share * len(stored))
    assert body.startswith(opened(stored[:end]))
    long = body * 1_000
    assert len(opened(squeeze(long)[: len(squeeze(long)) // 2])) > len(long) // 5


def test_a_time_that_no_calendar_has_is_nonsense() -> None:
    block, [run] = block_of([1])
    late = Run(run.id, 1 << 62, run.kind, run.room_id, run.arg_names, run.events, run.payloads)
    assert salvaged(spoilt(block, pack([encode_run(late)]))) == []
