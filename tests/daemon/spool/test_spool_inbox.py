"""The inbox: nothing is lost on the way to the writer, and each lane keeps its order."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.inbox import Group, Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Lane, Run, heard
from tdbwatch.daemon.spool.stored.drops import TOO_LARGE, Loss, Settled, Tally
from tdbwatch.daemon.spool.stored.marks import Mark, Marks
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.plugin import Event
from tdbwatch.plugin.ids import IdMint
from tdbwatch.testing import ManualClock
from tdbwatch.wire.codec import encode

LANES = [Lane("//stuff", room) for room in "abc"]
WHY = "a test says so"


class Numbering:
    """Runs whose events are numbered, over all lanes."""

    def __init__(self) -> None:
        self.mint = IdMint(ManualClock())
        self.sent: dict[Lane, list[int]] = {lane: [] for lane in LANES}
        self.count = 0

    def run(self, lane: Lane, count: int, size: int) -> tuple[Lane, Run]:
        first_id, count, us = self.mint.mint_run(count)
        numbers = range(self.count, self.count + count)
        self.count += count
        self.sent[lane] += numbers
        payloads = [msgspec.Raw(encode([number, "x" * size])) for number in numbers]
        return lane, Run(first_id, us, "event", 1, (), ["e"] * count, payloads)


def found_in(groups: list[Group]) -> dict[Lane, list[int]]:
    """What the writer would write, by lane, in order."""
    found: dict[Lane, list[int]] = {lane: [] for lane in LANES}
    for group in groups:
        for packing in group.packings:
            row = packing.row()
            block = row.block(1)
            events = block.events
            assert (row.first_us, row.last_us) == (events[0].received_us, events[-1].received_us)
            found[block.lane] += [event.args[0] for event in events]
    return found


def emptied(inbox: Inbox) -> list[Group]:
    groups = []
    inbox.close()
    while (group := inbox.take(0)) is not None:
        groups.append(group)
        assert sum(packing.size for packing in group.packings) <= 8 << 20 or len(group.packings) == 1
        inbox.done()
    return groups


puts = st.lists(
    st.lists(
        st.tuples(st.sampled_from(LANES), st.integers(1, 40), st.integers(0, 3000)), min_size=1, max_size=4
    )
    | st.just("take"),
    max_size=12,
)
limits = st.builds(
    Limits,
    max_size=st.sampled_from([1 << 20, 4 << 20, 1 << 30]),
    when_full=st.sampled_from(["drop_oldest", "drop_newest"]),
    max_held=st.sampled_from([30_000, 200_000, 64 << 20]),
)


@settings(deadline=None)
@given(puts, limits)
def test_every_event_is_taken_or_counted_as_lost_and_each_lane_keeps_its_order(
    made: list[Any], limits: Limits
) -> None:
    numbering, inbox = Numbering(), Inbox(limits, 0, 0)
    groups, lost = list[Group](), 0
    for one in made:
        if one == "take":
            group = inbox.take(0)
            assert group is not None
            groups.append(group)
            inbox.done()
            continue
        for tally in inbox.put([numbering.run(*each) for each in one], WHY):
            assert tally.reason == WHY
            lost += tally.count
        waits = inbox.held
        assert waits <= numbering.count
        assert inbox._bytes <= limits.max_held
    found = found_in([*groups, *emptied(inbox)])
    assert lost + sum(map(len, found.values())) == numbering.count
    for lane, numbers in found.items():
        assert set(numbers) <= set(numbering.sent[lane])
        assert numbers == sorted(numbers)
    if limits.max_held == 64 << 20:
        assert found == numbering.sent


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 2000))
def test_drop_oldest_keeps_the_newest_and_drop_newest_the_oldest(count: int, size: int) -> None:
    for when_full, kept_are in (("drop_oldest", "last"), ("drop_newest", "first")):
        inbox = Inbox(Limits(when_full=when_full, max_held=40_000), 0, 0)  # type: ignore[arg-type]
        numbering = Numbering()
        lost = sum(
            tally.count for _ in range(count) for tally in inbox.put([numbering.run(LANES[0], 1, size)], WHY)
        )
        kept = found_in(emptied(inbox))[LANES[0]]
        assert kept == list(range(lost, count) if kept_are == "last" else range(count - lost))
        assert kept
        if lost:
            assert len(kept) * (size + 170) > 25_000, "no more is lost than must be"


def test_what_memory_holds_is_counted_also_while_it_is_written() -> None:
    numbering, inbox = Numbering(), Inbox(Limits(), 0, 0)
    inbox.put([numbering.run(LANES[0], 9, 1)], WHY)
    assert inbox.take(0) is not None
    inbox.put([numbering.run(LANES[1], 5, 1)], WHY)
    assert inbox.held == 14
    inbox.done()
    assert inbox.held == 5


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_a_single_event_that_is_too_large_goes_alone(when_full: Any) -> None:
    inbox = Inbox(Limits(max_size=1 << 20, when_full=when_full), 0, 0)
    numbering = Numbering()
    small, payload = numbering.run(LANES[0], 9, 10), msgspec.Raw(encode([4, "x" * (1 << 18)]))
    run = msgspec.structs.replace(
        small[1], payloads=[*small[1].payloads[:4], payload, *small[1].payloads[5:]]
    )
    [tally] = inbox.put([(LANES[0], run)], WHY)
    assert (tally.reason, tally.count) == (TOO_LARGE, 1)
    assert found_in(emptied(inbox))[LANES[0]] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_an_event_as_large_as_one_may_be_is_taken() -> None:
    for limits in (Limits(max_size=1 << 20), Limits(), Limits(max_held=1 << 20)):
        inbox = Inbox(limits, 0, 0)
        event = Event.create("a", "e", [0, b"x" * (limits.max_event - 200)])
        assert inbox.put(heard([event]), WHY) == []
        [row] = [packing.row() for packing in emptied(inbox)[0].packings]
        assert row.block(1).events == [event]


def test_blocks_are_small_however_much_comes_at_once() -> None:
    for limits in (Limits(max_size=1 << 20), Limits()):
        inbox, numbering = Inbox(limits, 0, 0), Numbering()
        inbox.put([numbering.run(LANES[0], 4000, 1000)], WHY)
        groups = emptied(inbox)
        assert max(packing.size for group in groups for packing in group.packings) < 2.5 * limits.block_bytes
        assert found_in(groups) == numbering.sent


def test_progress_that_comes_between_two_commits_is_one_change() -> None:
    inbox = Inbox(Limits(), 0, 0)
    inbox.note(Change("s", 4, {LANES[0]: Behind(2), LANES[1]: Behind(3)}))
    inbox.note(Change("s", 9, {LANES[0]: None}))
    group = inbox.take(0)
    assert group is not None
    assert group.all_notes == [Change("s", 9, {LANES[0]: None, LANES[1]: Behind(3)})]


def test_what_is_lost_is_counted_with_the_first_commit_and_settled_with_the_last() -> None:
    """However much waits; and in one commit it is counted before it is settled."""
    inbox = Inbox(Limits(), 0, 0)
    inbox.group_bytes = 1  # each block in a commit of its own
    inbox.put(heard([Event.create("a", "e"), Event.create("b", "e")]), WHY)
    before, lost = Tally("x", {LANES[0]: Loss(1, 2, 3)}), Tally("y", {LANES[0]: Loss(4, 5, 6)})
    inbox.note(Settled([before]))
    inbox.note(lost)
    first = inbox.take(0)
    assert first is not None
    assert first.all_notes == [lost]
    inbox.note(later := Tally("y", {LANES[1]: Loss(7, 8, 9)}))
    inbox.note(Settled([lost]))
    last = inbox.take(0)
    assert last is not None
    assert last.all_notes == [later, Settled([before, lost])]


def test_a_beat_goes_with_the_last_of_what_was_put_before_it() -> None:
    inbox = Inbox(Limits(), 0, 0)
    inbox.group_bytes = 1  # each block in a commit of its own
    inbox.put(heard([Event.create("a", "e"), Event.create("b", "e")]), WHY)
    inbox.note(Beat(1.0))
    groups = [inbox.take(0), inbox.take(0)]
    assert [group and (len(group.packings), group.all_notes) for group in groups] == [
        (1, []),
        (1, [Beat(1.0)]),
    ]


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from([*LANES, None]), st.integers(0, 60_000), st.booleans()),
        min_size=2,
        max_size=25,
    )
)
def test_what_routes_remember_is_written_in_its_order(
    puts: list[tuple[Lane | None, int, bool]],
) -> None:
    """Though a lane's block may have been begun before another lane's, and commits are cut in between."""
    numbering, inbox = Numbering(), Inbox(Limits(max_size=1 << 20), 0, 0)
    inbox.group_bytes = 50_000
    for number, (lane, size, marked) in enumerate(puts):
        marks = (Mark("route", "key", number, b"state"),) if marked else ()
        if lane is None:
            inbox.remember(marks)
        else:
            where, run = numbering.run(lane, 1, size)
            inbox.put([(where, replace(run, marks=marks))], WHY)
    groups = emptied(inbox)
    assert found_in(groups) == numbering.sent
    notes = [note for group in groups for note in group.all_notes]
    written = [mark.part for note in notes if isinstance(note, Marks) for mark in note.marks]
    assert written == [number for number, (*_, marked) in enumerate(puts) if marked]
