"""No entry is older than it may be, delivered or not."""

from typing import Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits.chores import Step, undelivered
from tdbwatch.daemon.spool.limits.settings import Limits
from tdbwatch.daemon.spool.limits.size import STEP, STEP_BYTES
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.drops import MAX_AGE
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_OLDEST: Final = (
    "SELECT first_seq, count, scope, room, target, born_us, length(body) FROM blocks"
    " ORDER BY first_seq LIMIT ?"
)


class Age:
    """The chore.

    Attributes:
        catching_up: whether a step found more than it could do: much goes at once.
    """

    def __init__(self, limits: Limits) -> None:
        self.catching_up = False
        self._limits = limits

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:
        doomed, more = _older_than(store, now_us - int(self._limits.max_age * 1e6))
        self.catching_up = more
        if not doomed:
            return None
        tally = undelivered(store, reach, doomed, MAX_AGE)
        store.delete(doomed, tally)
        return Step(doomed, tally, more=more)


def _older_than(store: Store, limit_us: int) -> tuple[list[Gone], bool]:
    """The oldest blocks that began to grow old before then, within one step; whether there may be more."""
    found: list[Gone] = []
    left = STEP_BYTES
    for first_seq, count, scope, room, target, born_us, size in store.connection.execute(_OLDEST, (STEP,)):
        if born_us >= limit_us:
            return found, False
        if left <= 0:
            return found, True
        found.append(Gone(first_seq, count, Lane(scope, room), target))
        left -= size
    return found, len(found) == STEP
