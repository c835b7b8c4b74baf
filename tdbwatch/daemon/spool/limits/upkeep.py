"""The chores in their order, and how much of them is done between two commits."""

from collections.abc import Callable, Iterator
from typing import Final

from tdbwatch.daemon.spool.limits.age import Age
from tdbwatch.daemon.spool.limits.chores import Chore, Step
from tdbwatch.daemon.spool.limits.kept import Newest, kept_tables
from tdbwatch.daemon.spool.limits.settings import Limits
from tdbwatch.daemon.spool.limits.size import Size
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_BLOCKS_PER_STEP: Final = 100


class Upkeep:
    """Dead letters and attempts before anything else: no event goes for them.

    Attributes:
        busy: whether there is more to do at once.
    """

    def __init__(self, limits: Limits) -> None:
        self.busy = False
        self._limits = limits
        self.begin_anew()

    def begin_anew(self) -> None:
        """The file is another one."""
        self.size, self._age = Size(self._limits), Age(self._limits)
        self._kept = [Newest(table) for table in kept_tables(self._limits)]

    @property
    def catching_up(self) -> bool:
        """Whether more is about to be dropped for its age."""
        return self._age.catching_up

    def refuses(self, store: Store, reach: Reach) -> bool:
        """Whether what comes in has to be dropped."""
        return self._limits.when_full == "drop_newest" and not self.busy and self.size.refuses(store, reach)

    def steps(self, store: Store, reach: Callable[[], Reach], now_us: int, blocks: int) -> Iterator[Step]:
        """What is done after a commit of so many blocks."""
        left, self.busy = 1 + blocks // _BLOCKS_PER_STEP, False
        chores: list[Chore] = [*self._kept, self.size, self._age]
        for chore in chores:
            while (step := chore.step(store, reach(), now_us)) is not None:
                yield step
                left -= 1
                if left <= 0:
                    self.busy = step.more
                    return
