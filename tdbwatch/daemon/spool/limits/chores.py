"""What the writer tidies up between commits: a list of chores, each in small steps.

A chore that has something to do says what it did; None: there is nothing to do now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store


@dataclass(slots=True)
class Step:
    """What one step of a chore did.

    Attributes:
        gone: blocks that were deleted.
        tally: of these, what nobody gets any more.
        letters: dead letters that were deleted.
        more: whether there is more to do at once.
    """

    gone: Sequence[Gone] = ()
    tally: Tally | None = None
    letters: int = 0
    more: bool = field(default=True, kw_only=True)


class Chore(Protocol):
    """Something to be done now and then, in the writer's thread."""

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:
        """Do a little, so that no commit of new events waits long for it.

        Args:
            reach: what all sinks have finished.
            now_us: microseconds since the Unix epoch, by a clock that does not leap.

        Raises:
            sqlite3.Error: it could not be done.
        """


def undelivered(store: Store, reach: Reach, doomed: Sequence[Gone], reason: str) -> Tally:
    """What of these blocks some sink is still to get."""
    tally = Tally(reason)
    unfinished = [one for one in doomed if not reach.finished(one.last_seq, one.lane, one.target)]
    for block in store.load(unfinished):
        seqs = range(block.first_seq, block.last_seq + 1)
        lost = reach.unfinished(seqs, block.lane, block.target)
        tally.add_events(event for seq, event in block.numbered() if seq in lost)
    return tally
