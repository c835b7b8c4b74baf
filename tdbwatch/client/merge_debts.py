"""What one link owes: emits that other links delivered and it still has to. Pure."""

from bisect import bisect_left
from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Final

Key = Hashable
Debt = int | deque[int]
"""The number of the emit owed; if several equal emits are owed, their numbers in order."""

LIMIT: Final = 200_000
"""Keys that one link can owe. Beyond it the oldest are forgotten: a frozen link must not fill the memory."""


class Debts:
    """The emits a link owes, by key. Emits are numbered in the order in which they were passed on.

    Equal emits are paid oldest first. Which of them a link delivered cannot be known, only how many.
    """

    __slots__ = ("by_key",)

    def __init__(self) -> None:
        self.by_key: dict[Key, Debt] = {}
        """Public for the merge's common path only, which keeps single debts itself."""

    def __len__(self) -> int:
        return len(self.by_key)

    def owe(self, key: Key, number: int) -> None:
        """The link has to deliver this emit too."""
        debt = self.by_key.setdefault(key, number)
        if debt is not number:
            self.owe_another(key, number)

    def owe_another(self, key: Key, number: int) -> None:
        """The same for a key that is owed already."""
        debt = self.by_key[key]
        if type(debt) is int:
            self.by_key[key] = deque((debt, number))
        else:
            assert type(debt) is deque
            debt.append(number)

    def pay(self, key: Key) -> int | None:
        """The link delivered such an emit: the number of the one it paid for, None if it owed none."""
        debt = self.by_key.pop(key, None)
        return debt if debt is None or type(debt) is int else self.keep_rest(key, debt)

    def keep_rest(self, key: Key, debt: Debt) -> int:
        """Pay the first of several debts, which were taken out, and put the others back."""
        assert type(debt) is deque
        number = debt.popleft()
        if debt:
            self.by_key[key] = debt
        return number

    def count(self, key: Key) -> int:
        """How many emits with this key it owes."""
        debt = self.by_key.get(key, 0)
        return min(debt, 1) if type(debt) is int else len(debt)  # type: ignore[arg-type]

    def before(self, key: Key, number: int) -> int:
        """How many emits with this key it owes that were passed on before the emit with this number."""
        debt = self.by_key.get(key)
        if debt is None:
            return 0
        return int(debt < number) if type(debt) is int else bisect_left(debt, number)  # type: ignore[arg-type]

    def forgive(self, key: Key, count: int | None = None) -> int:
        """Strike out this many of the oldest debts for a key, or all; returns how many there were."""
        debt = self.by_key.pop(key, None)
        if debt is None or count == 0:
            if debt is not None:
                self.by_key[key] = debt
            return 0
        if type(debt) is int:
            return 1
        assert type(debt) is deque
        struck = len(debt) if count is None else min(count, len(debt))
        for _ in range(struck):
            debt.popleft()
        if debt:
            self.by_key[key] = debt
        return struck

    def forget_before(self, number: int) -> int:
        """Strike out all debts for emits passed on before this one; returns how many there were."""
        counts = [(key, self.before(key, number)) for key in self.by_key]
        return sum(self.forgive(key, count) for key, count in counts if count)

    def trim(self, limit: int = LIMIT) -> int:
        """Keep to the limit, with some room to grow; returns how many debts had to be struck out."""
        if len(self.by_key) <= limit:
            return 0
        surplus = list(islice(self.by_key, len(self.by_key) - limit + limit // 8))
        return sum(self.forgive(key) for key in surplus)
