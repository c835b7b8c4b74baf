"""What is in the log, and the dead letters."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final, Protocol

from tdbwatch.daemon.spool.api import DeadLetter, Entry, Progress
from tdbwatch.daemon.spool.errors import trusting_nothing
from tdbwatch.daemon.spool.stored import progress
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block, Lane
from tdbwatch.daemon.spool.stored.history import letters_after, letters_before
from tdbwatch.daemon.spool.stored.log import blocks_between, blocks_where, entries_of, extent
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.plugin.event import Event

_PAGE_BYTES: Final = 4 << 20
ByName = Callable[[str, str, str, str], bool | None]
"""Whether what has this kind, scope, room and name is meant; None: that depends on the event."""
_PAGE_LETTERS: Final = 1_000


class Wants(Protocol):
    """Whether a sink gets an event: asked by name, and about the event itself where that does not tell."""

    @property
    def by_name(self) -> ByName: ...

    def __call__(self, event: Event) -> bool: ...


class Log:
    """The entries, read a page at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def last_seq(self) -> int:
        """The number of the last entry."""
        return extent(self._connection)[1]

    @property
    def size(self) -> int:
        """How many entries there are."""
        return extent(self._connection)[2]

    def blocks(self, selection: Selection) -> Iterator[Block]:
        """The blocks that may have entries of these times, in order."""
        return self._blocks(1, _times(selection))

    def some(
        self, selection: Selection, *, only: Callable[[Entry], bool] | None = None, last: int = -1
    ) -> Iterator[Entry]:
        """The entries that are selected, in order.

        Args:
            only: of these, those that it picks; None: all.
            last: only so many, the newest; -1: all.
        """

        def keep(entry: Entry) -> bool:
            return selection.matches(entry.event) and (only is None or only(entry))

        return self._kept(keep, selection, last)

    def unfinished(
        self,
        selection: Selection,
        sink: str,
        wants: Callable[[Event], bool] | None = None,
        *,
        last: int = -1,
    ) -> Iterator[Entry]:
        """The entries that this sink is still to get, in order.

        Args:
            wants: whether the routes send an event to it; None: they are not known.
            last: only so many, the newest; -1: all.
        """
        with trusting_nothing():
            done = progress.load(self._connection).get(sink, Progress(0))

        def is_for_it(entry: Entry) -> bool:
            event, lane = entry.event, Lane(entry.event.scope, entry.event.room)
            if entry.target not in {None, sink} or done.finished(entry.seq, lane):
                return False
            if wants is None:  # as it is counted
                came = done.left_at is None or entry.seq <= done.left_at
                routed = came and (entry.seq <= done.floor or lane != Lane("", ""))
            else:
                routed = entry.target is not None or wants(event)
            return routed and selection.matches(event)

        return self._kept(is_for_it, selection, last)

    def behind(self, sink: str, done: Progress, wants: Wants) -> int:
        """How many entries this sink is still to get, as far as the routes send them there."""
        start = min([done.floor + 1, *(behind.first_seq for behind in done.behind.values())])
        blocks = (block for block in self._blocks(start) if block.target in {None, sink})
        return sum(_behind(block, done, wants.by_name, wants) for block in blocks)

    def count(self, which: ByName, among: Callable[[Lane], bool]) -> int:
        """How many entries `which` picks by kind, scope, room and name; copies for one sink apart.

        Args:
            among: of which rooms; nothing of the others is read.
        """
        rows = self._connection.execute("SELECT DISTINCT scope, room FROM blocks").fetchall()
        lanes = [lane for row in rows if among(lane := Lane(*row))]
        blocks = (block for lane in lanes for block in self._blocks(1, lane=lane) if block.target is None)
        return sum(_behind(block, Progress(0), which) for block in blocks)

    def copied(self, through: int) -> frozenset[str]:
        """The ids of events that were put into the log again, up to this entry."""
        blocks = self._blocks(1, " AND target IS NOT NULL")
        entries = (entry for block in blocks for entry in entries_of(block))
        return frozenset(entry.event.id for entry in entries if entry.seq <= through)

    def _kept(self, keep: Callable[[Entry], bool], selection: Selection, last: int) -> Iterator[Entry]:
        terms, first = _times(selection), 1
        if last >= 0:
            newest = (entry for block in self._backwards(terms) for entry in reversed([*entries_of(block)]))
            seqs = chain([MOST_SEQ], (entry.seq for entry in newest if keep(entry)))
            first = next(islice(seqs, last, None), 1)
        for block in self._blocks(first, terms):
            yield from (entry for entry in entries_of(block) if entry.seq >= first and keep(entry))

    def _backwards(self, also: str) -> Iterator[Block]:
        """All blocks, the newest first."""
        before, terms = MOST_SEQ, f"first_seq < ?{also} ORDER BY first_seq DESC"
        while page := blocks_where(self._connection, terms, (before,), _PAGE_BYTES):
            yield from page
            before = page[-1].first_seq

    def _blocks(self, first: int, also: str = "", lane: Lane | None = None) -> Iterator[Block]:
        """All blocks with entries from this one on, of one lane or of all, a page at a time."""
        while page := blocks_between(
            self._connection, first, MOST_SEQ, lane, max_bytes=_PAGE_BYTES, also=also
        ):
            yield from page
            first = page[-1].last_seq + 1

    def ids_like(self, beginning: str) -> Iterator[str]:
        """The ids of events among which are all that begin so, as often as they are there."""
        plain = beginning.replace("-", "")
        for block in self._blocks(1):
            for run in block.runs:
                if run.id.hex()[:12].startswith(plain[:12]):  # the rest differs within a run
                    yield from (event.id for event in run.unpacked(block.lane))


def _times(selection: Selection) -> str:
    since, until = selection.since_us, selection.until_us
    terms = "" if since is None else f" AND last_us >= {since}"
    return terms + ("" if until is None else f" AND first_us < {until}")


def _behind(block: Block, done: Progress, by_name: ByName, ask: Callable[[Event], bool] | None = None) -> int:
    if done.all_finished(block.first_seq, block.last_seq, block.lane):
        return 0
    answers = {pair: by_name(pair[0], *block.lane, pair[1]) for pair in block.distinct_names}
    if ask is not None and None in answers.values():
        entries = [entry for entry in entries_of(block) if not done.finished(entry.seq, block.lane)]
        return sum(block.target is not None or ask(entry.event) for entry in entries)
    if block.first_seq <= done.floor or block.target is not None:
        named = zip(block.seqs, block.names, strict=True)
        ours = (seq for seq, pair in named if block.target or answers[pair])
        return sum(not done.finished(seq, block.lane) for seq in ours)
    return sum(times for pair, times in Counter(block.names).items() if answers[pair])


class DeadLetters:
    """The dead letters, read a page at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def some(self, selection: Selection, *, last: int = -1) -> Iterator[DeadLetter]:
        """The dead letters, in the order in which they became so.

        Args:
            last: only so many, the newest; -1: all.
        """
        after = 0
        if last >= 0:
            numbers = [number for number, _ in self.numbered(selection)]
            after = numbers[-last - 1] if len(numbers) > last else 0
        return (letter for _, letter in self.numbered(selection, after))

    def newest(self, most: int, sink: str | None = None) -> list[DeadLetter]:
        """So many of them, the newest first; of one sink, or of all."""
        with trusting_nothing():
            return [letter for _, letter in letters_before(self._connection, most, sink)]

    def numbered(self, selection: Selection, after: int = 0) -> Iterator[tuple[int, DeadLetter]]:
        """The same with their numbers, from the one after `after` on."""
        (through,) = self._connection.execute("SELECT ifnull(max(number), 0) FROM dead_letters").fetchone()
        while after < through:
            end = min(after + _PAGE_LETTERS, through)
            with trusting_nothing():
                page = list(letters_after(self._connection, after, end, selection.sink))
            yield from (each for each in page if selection.matches(each[1].entry.event))
            after = end

    def discard(self, selection: Selection) -> int:
        """Delete dead letters; how many. Safe beside a running daemon, whose commits go in between."""
        deleted, doomed = 0, [number for number, _ in self.numbered(selection)]
        for start in range(0, len(doomed), _PAGE_LETTERS):
            page = [(number,) for number in doomed[start : start + _PAGE_LETTERS]]
            query = "DELETE FROM dead_letters WHERE number = ?"
            deleted += self._connection.executemany(query, page).rowcount
        return deleted

    def sinks(self, selection: Selection) -> list[str]:
        """The sinks that have dead letters of this selection."""
        return sorted({letter.sink for letter in self.some(selection)})
