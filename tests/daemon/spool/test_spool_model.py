"""The spool's store against a list, with crashes between any two writes."""

import contextlib
import copy
import sqlite3
from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tdbwatch.daemon.spool.api import Behind, DeadLetter, Entry, Gone, Past, Progress
from tdbwatch.daemon.spool.inbox import Group
from tdbwatch.daemon.spool.limits.delivered import undelivered
from tdbwatch.daemon.spool.spans import spans_of
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.log import blocks_where, extent
from tdbwatch.daemon.spool.stored.notes import GoneError
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.daemon.spool.stored.progress import Change, Reach
from tdbwatch.daemon.spool.stored.store import Copies
from tdbwatch.plugin import Event

from .store_kit import Content, Machine, by_lane, numbered, rows_of

ROOMS, SINKS = ("a", "b", "c"), ("s", "t", "x")
rooms, sinks = st.sampled_from(ROOMS), st.sampled_from(SINKS)
statements = st.integers(0, 24)
made = st.builds(
    lambda room, n, at: Event.create(room, "e", [n], received_us=at),
    rooms,
    st.integers(0, 9),
    st.integers(0, 100),
)
heards = st.lists(made, max_size=6)
pasts = st.tuples(
    st.builds(Past, st.just(2), st.integers(1, 9), st.integers(0, 1 << 60), st.just("é"), st.just(""))
)
behinds = st.none() | st.builds(
    Behind,
    st.integers(1, 30),
    st.sets(st.integers(2, 40), max_size=3).map(sorted).map(spans_of),
    st.just(()) | pasts,
)
changes = st.dictionaries(
    sinks,
    st.tuples(st.integers(0, 40), st.dictionaries(rooms.map(lambda room: Lane("//stuff", room)), behinds)),
    max_size=2,
)


def dead(sink: str, entry: Entry) -> DeadLetter:
    return DeadLetter(sink, entry, "r", 1, "r", "r", 0, 0)


class SpoolModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.last_seq = 0
        self.content = Content(self.machine.path)

    @property
    def store(self) -> Any:
        return self.machine.store

    def settle(self, action: Any, after: Content, last_seq: int, cut: int | None) -> None:
        """Do it, and see that all of it was done; or, where it is cut, that all or nothing was."""
        before = self.content
        if cut is None:
            action()
            assert Content(self.machine.path) == after
        else:
            self.machine.crash_in(action, cut)
        self.content = Content(self.machine.path)
        assert self.content in (before, after), "all, or nothing"
        if self.content == after:
            self.last_seq = last_seq

    # -- what happens ------------------------------------------------------------------------------------

    @rule(events=heards, changed=changes, bury=st.none() | sinks, cut=st.none() | statements)
    def commit(self, events: list[Event], changed: Any, bury: str | None, cut: int | None) -> None:
        after = copy.deepcopy(self.content)
        if bury is not None:  # never without its progress
            changed.setdefault(bury, (0, {}))
        changes = {sink: Change(sink, *change) for sink, change in changed.items()}
        after.entries += numbered(by_lane(events), self.last_seq)
        if bury is not None and self.content.entries:
            [first, *_] = self.content.entries
            changes[bury].letters.append(dead(bury, first))
            after.letters_ever += 1
            after.letters.append((after.letters_ever, bury, Entry(first.seq, first.event, bury)))
        for sink, (floor, behind) in changed.items():
            progress = after.progress.setdefault(sink, Progress(0))
            progress.floor = floor
            progress.behind |= behind
            progress.behind = {lane: one for lane, one in progress.behind.items() if one is not None}
        rows, last_seq = rows_of(events), self.last_seq + len(events)
        self.settle(lambda: self.store.commit(rows, list(changes.values())), after, last_seq, cut)

    @rule(which=st.sets(st.integers(0, 7)), names=st.none() | st.sets(sinks), cut=st.none() | statements)
    def delete(self, which: set[int], names: set[str] | None, cut: int | None) -> None:
        blocks = self.blocks()
        doomed = [blocks[index] for index in sorted(which) if index < len(blocks)]
        after = copy.deepcopy(self.content)
        seqs = {seq for one in doomed for seq in range(one.first_seq, one.last_seq + 1)}
        gone = [entry for entry in after.entries if entry.seq in seqs]
        after.entries = [entry for entry in after.entries if entry.seq not in seqs]
        lost = Counter(Lane("//stuff", one.event.room) for one in gone if self.wanted(one, names))
        for lane, count in lost.items():
            after.drops["r", lane] = after.drops.get(("r", lane), 0) + count
        after.orders = [self.missing(order, gone) for order in after.orders]
        tally = undelivered(self.store, Reach(self.store.progress, names), doomed, "r")
        assert tally.count == lost.total()
        self.settle(lambda: self.store.delete(doomed, tally), after, self.last_seq, cut)

    def blocks(self) -> list[Gone]:
        with contextlib.closing(sqlite3.connect(self.machine.path)) as connection:
            return [
                Gone(block.first_seq, block.count, block.lane, block.target)
                for block in blocks_where(connection, "1 ORDER BY first_seq", ())
            ]

    def wanted(self, entry: Entry, names: set[str] | None) -> bool:
        """Whether some sink is still to get it."""
        lane = Lane("//stuff", entry.event.room)
        return any(
            not progress.finished(entry.seq, lane)
            for sink, progress in self.content.progress.items()
            if (names is None or sink in names) and entry.target in (None, sink)
        )

    @staticmethod
    def missing(order: Any, gone: list[Entry]) -> Any:
        missed = sum(
            order.kind == "replay"
            and entry.target is None
            and order.position < entry.seq <= order.through
            and order.selection.matches(entry.event)
            for entry in gone
        )
        return type(order)(
            order.number,
            order.kind,
            order.sink,
            order.selection,
            order.position,
            order.through,
            order.missed + missed,
        )

    @rule(sink=sinks, room=st.none() | rooms)
    def ask_for_a_replay(self, sink: str, room: str | None) -> None:
        self.ask("replay", sink, Selection(room=room), self.last_seq)

    @rule(sink=sinks)
    def ask_for_letters(self, sink: str) -> None:
        self.ask("requeue", sink, Selection(), max([n for n, *_ in self.content.letters], default=0))

    def ask(self, kind: Any, sink: str, selection: Selection, through: int) -> None:
        with contextlib.closing(sqlite3.connect(self.machine.path, isolation_level=None)) as connection:
            orders.insert(connection, kind, sink, selection, through)
        self.content = Content(self.machine.path)

    @rule(count=st.integers(1, 4), cut=st.none() | statements)
    def requeue(self, count: int, cut: int | None) -> None:
        order = next((order for order in self.content.orders if order.kind == "requeue"), None)
        if order is None:
            return
        chosen = [
            (number, entry)
            for number, sink, entry in self.content.letters
            if sink == order.sink and order.position < number <= order.through
        ][:count]
        position = chosen[-1][0] if len(chosen) == count else order.through
        self.redeliver(order, [entry.event for _, entry in chosen], position, [n for n, _ in chosen], cut)

    @rule(step=st.integers(1, 8), cut=st.none() | statements)
    def replay(self, step: int, cut: int | None) -> None:
        order = next((order for order in self.content.orders if order.kind == "replay"), None)
        if order is not None:
            position = min(order.position + step, order.through)
            events = [
                entry.event
                for entry in self.content.entries
                if order.position < entry.seq <= position
                and entry.target is None
                and order.selection.matches(entry.event)
            ]
            self.redeliver(order, events, position, [], cut)

    def redeliver(
        self, order: Any, events: list[Event], position: int, letters: list[int], cut: int | None
    ) -> None:
        after = copy.deepcopy(self.content)
        after.entries += numbered(events, self.last_seq, order.sink)
        after.letters = [one for one in after.letters if one[0] not in letters]
        after.orders = [
            type(one)(one.number, one.kind, one.sink, one.selection, position, one.through, one.missed)
            if one.number == order.number
            else one
            for one in after.orders
            if one.number != order.number or position < order.through
        ]
        copies = Copies(order, heard(events), position, letters, cast("Any", None))
        last_seq = self.last_seq + len(events)
        self.settle(lambda: self.store.commit(copies.rows(0), [copies]), after, last_seq, cut)

    @rule()
    def reopen(self) -> None:
        self.machine.reopen()

    # -- what always holds -------------------------------------------------------------------------------

    @invariant()
    def memory_says_what_the_file_says(self) -> None:
        store, entries = self.store, self.content.entries
        assert (store.entries, store.last_seq) == (len(entries), self.last_seq)
        assert store.first_seq == (entries[0].seq if entries else self.last_seq + 1)
        assert store.progress == self.content.progress
        with contextlib.closing(sqlite3.connect(self.machine.path)) as connection:
            assert extent(connection) == (store.first_seq, store.last_seq, store.entries)

    def teardown(self) -> None:
        self.machine.end()


SpoolModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestSpoolModel = pytest.mark.timeout(300)(SpoolModel.TestCase)


@pytest.mark.parametrize("statement", range(16))
def test_a_requeue_that_is_cut_at_any_statement_moves_all_or_nothing(statement: int) -> None:
    model: Any = SpoolModel()
    model.commit(events=[Event.create("a", "e", [1])], changed={}, bury=None, cut=None)
    for _ in range(2):
        model.commit(events=[], changed={}, bury="s", cut=None)
    model.ask_for_letters(sink="s")
    model.requeue(count=4, cut=statement)
    model.memory_says_what_the_file_says()
    assert len(model.content.letters) + len(model.content.entries) == 3
    model.teardown()


@pytest.mark.parametrize("statement", range(12))
def test_whatever_cuts_it_no_event_gets_two_letters_and_none_is_lost(statement: int) -> None:
    machine = Machine()
    machine.store.commit(rows_of([Event.create("a", "e", [n]) for n in range(4)]), ())

    def refuse_next() -> None:
        finished = machine.store.progress.get("s", Progress(0)).floor
        entry = Content(machine.path).entries[finished]
        letters = [dead("s", entry)]
        machine.store.commit((), [Change("s", entry.seq, letters=letters)])

    refuse_next()
    machine.crash_in(refuse_next, statement)
    while machine.store.progress["s"].floor < 4:
        refuse_next()
    assert [entry.seq for _, _, entry in Content(machine.path).letters] == [1, 2, 3, 4]
    machine.end()


def test_a_letter_that_somebody_deleted_meanwhile_is_not_requeued() -> None:
    model: Any = SpoolModel()
    model.commit(events=[Event.create("a", "e", [1])], changed={}, bury=None, cut=None)
    model.commit(events=[], changed={}, bury="s", cut=None)
    model.ask_for_letters(sink="s")
    with contextlib.closing(sqlite3.connect(model.machine.path)) as connection, connection:
        connection.execute("DELETE FROM dead_letters")
    [order] = model.content.orders
    copies = Copies(order, heard([Event.create("a")]), 1, [1], cast("Any", None))
    with pytest.raises(GoneError):
        model.store.commit(copies.rows(0), [copies])
    assert model.store.last_seq == 1
    assert Content(model.machine.path).orders == [order]
    model.teardown()


def test_a_group_with_nothing_in_it_writes_nothing() -> None:
    assert Group().empty
    group = Group()
    group.note(Change("s", 0))
    assert not group.empty
