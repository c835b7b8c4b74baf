"""The spool's store against a list, with crashes between any two writes.

A crash is made real by copying the database and its log at that very moment, as a power cut would leave
them, and going on with the copy.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tdbwatch.daemon.spool.extent import extent_of
from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.daemon.spool.requests import ask
from tdbwatch.daemon.spool.rows import SELECT_EVENTS, Streams, entry_of
from tdbwatch.daemon.spool.schema import connect
from tdbwatch.daemon.spool.selection import Selection
from tdbwatch.daemon.spool.store import Store

from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.daemon.spool.inbox import Group
from tdbwatch.plugin import Event


class PowerCutError(Exception):
    """The machine went down here."""


class Trapped(sqlite3.Connection):
    """Calls `trap` before and after each statement."""

    trap: Any = None

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.spring()
        done = super().execute(*args)
        self.spring()
        return done

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self.spring()
        done = super().executemany(*args)
        self.spring()
        return done

    def spring(self) -> None:
        if self.trap is not None:
            self.trap()


rooms = st.sampled_from(["a", "b", "c"])
made = st.builds(
    lambda room, n, at: Event.create(room, "e", [n], received_us=at),
    rooms,
    st.integers(0, 9),
    st.integers(0, 100),
)


SINKS = ("s", "t", "x")


def told(pending: dict[str, Pending]) -> Any:
    """As if the sinks had just said so."""
    return SimpleNamespace(pending=lambda: pending, answered=lambda _: True, forget=lambda: None)


def all_beyond(floor: int) -> dict[str, Pending]:
    """Every sink wants all that is beyond."""
    return dict.fromkeys(SINKS, Pending(floor))


class SpoolModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.entries: list[Entry] = []
        self.last_seq = 0
        self.cursors: dict[str, int] = {}
        self.letters: list[tuple[str, int]] = []
        self.buried: dict[int, Event] = {}
        self.open()

    def open(self) -> None:
        self.path = self.folder / f"{self.generation}.db"
        self.store = Store(self.path, lambda path: connect(path, Trapped))

    def group(self, events: list[Event], sink: str | None, bury: bool) -> Group:
        group = Group(events=events)
        if sink is not None:
            group.cursors[sink] = self.last_seq
        if bury and self.entries:
            group.letters.append(DeadLetter(sink or "x", self.entries[0], "r", 1, "", "", 0, 0))
            self.buried[self.entries[0].seq] = self.entries[0].event
        return group

    def applied(self, group: Group) -> tuple[Any, ...]:
        """What the model looks like with this group."""
        entries = [Entry(self.last_seq + n, event) for n, event in enumerate(group.events, 1)]
        letters = [(letter.sink, letter.entry.seq) for letter in group.letters]
        cursors = self.cursors | group.cursors
        return self.entries + entries, self.last_seq + len(entries), cursors, self.letters + letters

    def state(self) -> tuple[Any, ...]:
        return self.entries, self.last_seq, self.cursors, self.letters

    def found(self) -> tuple[Any, ...]:
        """What the file says, by a connection of its own."""
        connection = sqlite3.connect(self.path)
        try:
            streams = Streams(connection)
            rows = connection.execute(SELECT_EVENTS, (0, 1 << 60, -1)).fetchall()
            entries = [entry_of(row, streams) for row in rows]
            letters = connection.execute("SELECT sink, seq FROM dead_letters ORDER BY number").fetchall()
        finally:
            connection.close()
        return entries, self.store.last_seq, self.store.cursors, letters

    @rule(events=st.lists(made, max_size=5), sink=st.sampled_from([None, "s", "t"]), bury=st.booleans())
    def commit(self, events: list[Event], sink: str | None, bury: bool) -> None:
        group = self.group(events, sink, bury)
        expected = self.applied(group)
        assert self.store.commit(group) == expected[0][len(self.entries) :]
        self.entries, self.last_seq, self.cursors, self.letters = expected

    @rule(
        events=st.lists(made, max_size=5),
        sink=st.sampled_from([None, "s"]),
        bury=st.booleans(),
        statement=st.integers(0, 20),
    )
    def crash_in_commit(self, events: list[Event], sink: str | None, bury: bool, statement: int) -> None:
        group = self.group(events, sink, bury)
        before, after = self.state(), self.applied(group)
        self.crash_in(lambda: self.store.commit(group), statement)
        assert self.found() in (before, after), "all of a group, or nothing"
        self.entries, self.last_seq, self.cursors, self.letters = self.found()

    @rule(now_us=st.integers(0, 120), floor=st.integers(0, 50))
    def prune_by_age(self, now_us: int, floor: int) -> None:
        tally = self.store.prune(Limits(max_age=0.0), floor, now_us, told(all_beyond(floor)))
        kept = list(self.entries)
        while kept and kept[0].event.received_us < now_us:
            kept.pop(0)
        gone = self.entries[: len(self.entries) - len(kept)]
        assert (tally.count if tally else 0) == sum(entry.seq > floor for entry in gone)
        self.entries = kept

    @rule(statement=st.integers(0, 20))
    def crash_in_prune(self, statement: int) -> None:
        before = self.state()
        inquiry = told(all_beyond(0))
        self.crash_in(lambda: self.store.prune(Limits(max_age=0.0), 0, 1000, inquiry), statement)
        after = ([], *before[1:])
        assert self.found() in (before, after)
        self.entries = self.found()[0]

    @rule(
        floor=st.integers(0, 30),
        position=st.integers(0, 50),
        firsts=st.dictionaries(rooms, st.integers(1, 50)),
        cut=st.none() | st.integers(0, 20),
    )
    def sweep(self, floor: int, position: int, firsts: dict[str, int], cut: int | None) -> None:
        by_room = {("//stuff", room): first for room, first in firsts.items()}
        pending = dict.fromkeys(SINKS, Pending(position, by_room))
        kept = [
            entry
            for entry in self.entries
            if entry.seq <= floor or entry.seq > position or entry.seq >= firsts.get(entry.event.room, 99)
        ]
        before, after = self.state(), (kept, *self.state()[1:])

        def sweep_all() -> None:
            self.store._sweeper._all_again_at = 0.0
            while self.store.make_room(floor, self.last_seq, 1 << 30, told(pending)):
                pass

        if cut is None:
            sweep_all()
            assert self.found() == after
        else:
            self.crash_in(sweep_all, cut)
            assert self.found() in (before, after)
        self.entries = self.found()[0]

    @rule(sink=st.sampled_from(["s", "t", "x"]), statement=st.integers(0, 20))
    def crash_in_requeue(self, sink: str, statement: int) -> None:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            ask(connection, "requeue", sink, Selection(), 0)
            rows = connection.execute("SELECT number, sink, seq FROM dead_letters ORDER BY number").fetchall()
        if not (requests := self.store.requests()):
            return
        request = requests[0]  # perhaps one that an earlier crash has left
        moved = [number for number, name, _ in rows if name == request.sink and number <= request.through]
        events = [self.buried[seq] for number, _, seq in rows if number in moved]
        copies = [Entry(self.last_seq + n, event, request.sink) for n, event in enumerate(events, 1)]
        left = [(name, seq) for number, name, seq in rows if number not in moved]
        before = self.state()
        after = (self.entries + copies, self.last_seq + len(copies), self.cursors, left)
        self.crash_in(
            lambda: self.store.serve(request, lambda event: True, Limits(), self.store.last_seq, 0), statement
        )
        assert self.found() in (before, after), "each letter is dead or in the log: never both, never neither"
        self.entries, self.last_seq, self.cursors, self.letters = self.found()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    def crash_in(self, action: Any, statement: int) -> None:
        left = statement

        def trap() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCutError

        connection: Any = self.store._connection
        connection.trap = trap
        with contextlib.suppress(PowerCutError):
            action()
        self.generation += 1
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", self.folder / f"{self.generation}.db{suffix}")
        connection.trap = None
        self.store.close()
        self.open()

    @invariant()
    def the_file_is_the_model(self) -> None:
        assert self.found() == self.state()
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            extent = extent_of(connection)
        assert (extent.count, extent.last) == (len(self.entries), self.last_seq)
        assert (extent.first, extent.missing) == (self.store.first_seq, self.store.missing)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


SpoolModel.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestSpoolModel = SpoolModel.TestCase


@pytest.mark.parametrize("statement", range(16))
def test_a_requeue_that_is_cut_at_any_statement_moves_all_or_nothing(statement: int) -> None:
    model: Any = SpoolModel()
    model.commit(events=[Event.create("a", "e", [1])], sink=None, bury=False)
    for _ in range(2):
        model.commit(events=[], sink="s", bury=True)
    model.crash_in_requeue(sink="s", statement=statement)
    model.the_file_is_the_model()
    model.teardown()
