"""Progress says of every entry whether it is finished, and survives being written down."""

import sqlite3
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.spool.api import Behind, Gone, Past, Progress
from tdbwatch.daemon.spool.spans import holds, spans_of
from tdbwatch.daemon.spool.stored import progress
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.notes import execute
from tdbwatch.daemon.spool.stored.progress import Change, Reach
from tdbwatch.daemon.spool.stored.tables import prepare

from .spool_kit import finished_through

SEQS = range(1, 25)
LANES = [Lane("", "a"), Lane("//x", "a"), Lane("//x", "b")]
SINKS = ["s", "t", "u"]
lanes, sinks = st.sampled_from(LANES), st.sampled_from(SINKS)
pasts = st.builds(Past, st.integers(1, 9), st.integers(1, 99), st.integers(0, 1 << 60), st.text(), st.text())
behinds = st.builds(
    Behind,
    st.sampled_from(SEQS),
    st.sets(st.sampled_from(SEQS), max_size=5).map(sorted).map(spans_of),
    st.lists(pasts, max_size=3).map(tuple),
)
progresses = st.builds(Progress, st.integers(0, 25), st.dictionaries(lanes, behinds))
"""Every lane of which nothing is said has all up to the floor."""


def plainly(one: Progress) -> set[tuple[int, Lane]]:
    """What is finished, entry by entry, as the words say it."""
    found = set[tuple[int, Lane]]()
    for lane in LANES:
        for seq in SEQS:
            behind = one.behind.get(lane)
            up_to_the_floor = seq <= one.floor
            held_back = (
                behind is not None
                and seq >= behind.first_seq
                and not any(first <= seq <= last for first, last in behind.beyond)
            )
            if up_to_the_floor and not held_back:
                found.add((seq, lane))
    return found


@settings(deadline=None)
@given(progresses)
def test_an_entry_is_finished_up_to_the_floor_unless_its_lane_says_otherwise(one: Progress) -> None:
    said = {(seq, lane) for seq in SEQS for lane in LANES if one.finished(seq, lane)}
    assert said == plainly(one)


@settings(deadline=None)
@given(progresses, lanes)
def test_finished_through_is_the_longest_prefix_of_the_lane_but_for_what_is_beyond(
    one: Progress, lane: Lane
) -> None:
    through, finished = finished_through(one, lane), plainly(one)
    assert all((seq, lane) in finished for seq in SEQS if seq <= through)
    after = through + 1
    behind = one.behind.get(lane)
    if after in SEQS and (after, lane) in finished:
        assert behind is not None
        assert holds(behind.beyond, after, after), "which is not worth to be counted here"


@settings(deadline=None)
@given(
    st.dictionaries(sinks, progresses),
    st.none() | st.sets(sinks),
    lanes,
    st.none() | st.sampled_from([*SINKS, "x"]),
)
def test_reach_is_what_all_whom_it_concerns_have(
    progress_of: dict[str, Progress], names: set[str] | None, lane: Lane, target: str | None
) -> None:
    reach = Reach(progress_of, names)
    concerned = [
        plainly(one)
        for sink, one in progress_of.items()
        if (names is None or sink in names) and target in (None, sink)
    ]
    for seq in SEQS:
        for first in range(1, seq + 1):
            block = [(n, lane) for n in SEQS if first <= n <= seq]
            if reach.finished(Gone(first, seq - first + 1, lane, target)):
                assert all(each in one for one in concerned for each in block), "never said too early"
    lost = reach.unfinished(SEQS, lane, target)
    assert lost == {seq for seq in SEQS if any((seq, lane) not in finished for finished in concerned)}
    floors = [one.floor for sink, one in progress_of.items() if names is None or sink in names]
    assert reach.floor == min(floors, default=None)
    if target is None and reach.floor is not None:
        assert not reach.finished(Gone(reach.floor + 1, 1, lane, None))


changes = st.builds(Change, sinks, st.integers(0, 99), st.dictionaries(lanes, st.none() | behinds))


@settings(deadline=None)
@given(st.lists(changes, max_size=9), st.booleans())
def test_what_is_saved_is_what_is_loaded_and_what_memory_says(saved: list[Change], merged: bool) -> None:
    memory: dict[str, Progress] = {}
    written = saved
    if merged:  # as the inbox does with what comes between two commits
        one: dict[str, Change] = {}
        for change in saved:
            one.setdefault(change.sink, Change(change.sink)).merge(change)
        written = list(one.values())
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        prepare(connection, ":memory:")  # type: ignore[arg-type]
        for change in written:
            execute(connection, change.writes())
            change.apply(memory)
        assert progress.load(connection) == memory
    expected: dict[str, Progress] = {}
    for change in saved:
        now = expected.setdefault(change.sink, Progress(0))
        now.floor = change.floor or 0
        now.behind = {
            lane: behind for lane, behind in (now.behind | change.behind).items() if behind is not None
        }
    assert memory == expected


@settings(deadline=None)
@given(progresses, st.integers(0, 25), st.dictionaries(lanes, st.none() | behinds, max_size=2))
def test_what_a_sink_gets_further_with_is_within_what_is_said_to_be_freed(
    before: Progress, floor: int, behind: dict[Lane, Behind | None]
) -> None:
    was = {(seq, lane) for seq in SEQS for lane in LANES if before.finished(seq, lane)}
    known = before.behind.keys()
    memory, looked_at = {"s": before}, before.floor  # beyond the floor nothing was looked at
    freed: dict[Lane, list[tuple[int, int]]] = {}
    for lane, span in Change("s", max(floor, before.floor), behind).apply(memory):
        freed.setdefault(lane, []).append(span)
    for lane in known & behind.keys():  # others that are behind have not moved
        for seq in range(1, looked_at + 1):
            if (seq, lane) not in was and memory["s"].finished(seq, lane):
                assert any(first <= seq <= last for first, last in freed.get(lane, [])), (lane, seq)


def test_what_was_tried_takes_a_few_bytes_beside_its_errors() -> None:
    """A sink that keeps no order may have thousands in one room, and all are written each time."""
    tried = tuple(Past(1, 1, 1_700_000_000_000_000 + number, "no", "no") for number in range(1000))
    writes = Change("s", 1, {LANES[0]: Behind(1, (), tried)}).writes()
    rows = [row for write in writes for row in write.rows if "INTO behind" in write.sql]
    assert len(rows[0][-1]) < 25 * 1000
