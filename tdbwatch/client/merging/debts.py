"""What one link owes: emits that other links delivered and it still has to. Pure."""

from bisect import bisect_left
from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Final

Key = Hashable
Debt = int | deque[int]
"""The number of the emit owed, or those of several in order. Negative: so many were written off ahead."""

LIMIT: Final = 200_000
"""Keys that one link can owe. Beyond it the oldest are forgotten: a frozen link must not fill the memory."""


class Debts:
    """The emits a link owes, by key. Emits are numbered from 1, in the order in which they were passed on.

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
        if self.by_key.setdefault(key, number) is not number:
            self.owe_another(key, number)

    def owe_another(self, key: Key, number: int) -> None:
        """The same for a key that is in the books already."""
        debt = self.by_key[key]
        if not isinstance(debt, int):
            debt.append(number)
        elif debt > 0:
            self.by_key[key] = deque((debt, number))
        else:
            self._put(key, debt + 1)

    def pay(self, key: Key) -> int | None:
        """The link delivered such an emit: the number of the one it paid for, None if it owed none."""
        debt = self.by_key.pop(key, None)
        return None if debt is None else self.keep_rest(key, debt)

    def keep_rest(self, key: Key, debt: Debt) -> int | None:
        """The same with a debt that was taken out already: what is left of it is put back."""
        if isinstance(debt, int):
            if debt > 0:
                return debt
            self.by_key[key] = debt
            return None
        number = debt.popleft()
        if debt:
            self.by_key[key] = debt
        return number

    def count(self, key: Key) -> int:
        """How many emits with this key it owes; negative if more were written off than it owed."""
        debt = self.by_key.get(key, 0)
        if isinstance(debt, int):
            return min(debt, 1)
        return len(debt)

    def before(self, key: Key, number: int) -> int:
        """The same of emits that were passed on before the emit with this number."""
        debt = self.by_key.get(key, 0)
        if isinstance(debt, int):
            return min(debt, 1) if debt < number else 0
        return bisect_left(debt, number)

    def forgive(self, key: Key) -> int:
        """Strike out all debts for a key; returns how many there were."""
        debt = self.by_key.pop(key, 0)
        return max(0, min(debt, 1)) if isinstance(debt, int) else len(debt)

    def write_off(self, key: Key, count: int) -> None:
        """Strike out one or more of the oldest debts for a key; what is not there yet, when it comes."""
        debt = self.by_key.get(key, 0)
        if isinstance(debt, int):
            self._put(key, min(debt, 1) - count)
            return
        struck = min(count, len(debt))
        for _ in range(struck):
            debt.popleft()
        if not debt:
            self._put(key, struck - count)

    def forget_before(self, number: int) -> int:
        """Strike out all debts for emits passed on before this one; returns how many there were."""
        struck = 0
        for key, debt in list(self.by_key.items()):
            if isinstance(debt, int) and debt < 0:
                del self.by_key[key]  # whoever was behind then is not any more
            elif count := self.before(key, number):
                struck += count
                self.write_off(key, count)
        return struck

    def trim(self, limit: int = LIMIT) -> int:
        """Keep to the limit, with some room to grow; returns how many debts had to be struck out."""
        if len(self.by_key) <= limit:
            return 0
        surplus = list(islice(self.by_key, len(self.by_key) - limit + limit // 8))
        return sum(self.forgive(key) for key in surplus)

    def _put(self, key: Key, debt: int) -> None:
        if debt:
            self.by_key[key] = debt
        else:
            self.by_key.pop(key, None)
