"""The chores in their order, and how much of them is done between two commits."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits.age import Age
from tdbwatch.daemon.spool.limits.chores import Chore, Step
from tdbwatch.daemon.spool.limits.kept import Newest, kept_tables
from tdbwatch.daemon.spool.limits.settings import Limits
from tdbwatch.daemon.spool.limits.size import STEP_BYTES, Size
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_BLOCKS_PER_STEP: Final = 100
_BYTES_PER_STEP: Final = STEP_BYTES // 2


class Upkeep:
    """Dead letters and attempts before anything else: no event goes for them.

    Attributes:
        busy: whether there is more to do at once.
        refuses: whether what comes in has to be dropped, as of the last `admits`.
    """

    def __init__(self, limits: Limits) -> None:
        self.refuses = False
        self._limits = limits
        self.begin_anew()

    def begin_anew(self) -> None:
        """The file is another one, or its limits are: first of all it is looked at."""
        self.busy = True
        self.size, self._age = Size(self._limits), Age(self._limits)
        self._kept = [Newest(table) for table in kept_tables(self._limits)]

    @property
    def catching_up(self) -> bool:
        """Whether more is about to be dropped for its age."""
        return self._age.catching_up

    def admits(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Under `drop_newest`: what is delivered goes before anything that comes in is refused."""
        self.refuses = False
        if self._limits.when_full == "drop_newest" and not self.busy:
            yield from self.size.fit(store, reach)
            self.refuses = self.size.exceeded(store)

    def steps(
        self, store: Store, reach: Callable[[], Reach], now_us: int, grown: Sequence[Block]
    ) -> Iterator[Step]:
        """What is done after a commit of these blocks: enough for the file not to outgrow its limit."""
        left, self.busy = _budget(grown), False
        chores: list[Chore] = [*self._kept, self.size, self._age]
        for chore in chores:
            while (step := chore.step(store, reach(), now_us)) is not None:
                yield step
                left -= 1
                if left <= 0:
                    self.busy = step.more
                    return


def _budget(grown: Sequence[Block]) -> int:
    size = sum(len(block.body) for block in grown)
    return 1 + len(grown) // _BLOCKS_PER_STEP + size // _BYTES_PER_STEP
