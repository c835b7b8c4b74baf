"""Entries that became dead letters just before a crash, which left no time to write down that they ended."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from tdbwatch.daemon.spool.api import Behind, Past, Progress
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.progress import Change

_LATEST_US: Final = 60_000_000
"""Dead letters that are so much older than the newest have been followed by their progress."""
_NEWEST_FIRST: Final = "SELECT sink, scope, room, seq, dead_us FROM dead_letters ORDER BY number DESC"
_LANES: Final = (
    "SELECT scope, room, min(first_seq) FROM blocks"
    " WHERE first_seq <= ? AND first_seq + count > ? AND (target IS NULL OR target = ?) GROUP BY scope, room"
)
_OF_LANE: Final = (
    "SELECT first_seq, count FROM blocks WHERE room = ? AND scope = ?"
    " AND first_seq <= ? AND first_seq + count > ? AND (target IS NULL OR target = ?) ORDER BY first_seq"
)

_Ended = dict[Lane, set[int]]


def untold(connection: sqlite3.Connection, progress: Mapping[str, Progress]) -> dict[str, Change]:
    """What sinks have finished beyond their progress, since there is a dead letter of it."""
    ended: dict[str, _Ended] = defaultdict(lambda: defaultdict(set))
    newest_us = None
    for sink, scope, room, seq, dead_us in connection.execute(_NEWEST_FIRST):
        newest_us = dead_us if newest_us is None else newest_us
        if dead_us < newest_us - _LATEST_US:
            break
        lane = Lane(scope, room)
        if sink in progress and not progress[sink].finished(seq, lane):
            ended[sink][lane].add(seq)
    return {sink: _change(connection, sink, progress[sink], lanes) for sink, lanes in ended.items()}


def _change(connection: sqlite3.Connection, sink: str, before: Progress, ended: _Ended) -> Change:
    floor = max(before.floor, *(seq for seqs in ended.values() for seq in seqs))
    change = Change(floor)
    for scope, room, first_seq in connection.execute(_LANES, (floor, before.floor + 1, sink)):
        if (lane := Lane(scope, room)) not in before.behind:
            change.behind[lane] = Behind(max(first_seq, before.floor + 1))
    for lane, seqs in ended.items():
        behind = change.behind.get(lane) or before.behind.get(lane)
        if behind is not None:  # otherwise the log has given it up
            change.behind[lane] = _without(connection, sink, floor, lane, behind, seqs)
    return change


def _without(
    connection: sqlite3.Connection, sink: str, floor: int, lane: Lane, behind: Behind, seqs: set[int]
) -> Behind | None:
    """A lane that is behind, but for these entries; None: it is not behind any more."""
    finished = seqs.union(behind.beyond)
    rows = connection.execute(_OF_LANE, (lane.room, lane.scope, floor, behind.first_seq, sink))
    numbers = (seq for first, count in rows for seq in range(max(first, behind.first_seq), first + count))
    first_seq = next((seq for seq in numbers if seq not in finished), floor + 1)
    if first_seq > floor:
        return None
    beyond = tuple(sorted(seq for seq in finished if seq > first_seq))
    tried = tuple(_but_for(behind.tried, len(seqs)))
    return replace(behind, first_seq=first_seq, beyond=beyond, tried=tried)


def _but_for(tried: tuple[Past, ...], count: int) -> Iterator[Past]:
    """Without so many entries: those that end together share what became of them before."""
    for past in tried:
        gone = min(past.count, count)
        count -= gone
        if past.count > gone:
            yield replace(past, count=past.count - gone)
