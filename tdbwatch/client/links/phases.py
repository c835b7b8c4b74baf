"""Phases: a table says which may follow which; any other step raises, and changes nothing."""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Generic, TypeVar

P = TypeVar("P", bound=Enum)


class IllegalTransitionError(RuntimeError):
    """This phase does not follow that one: a mistake of ours."""


class Phases(Generic[P]):
    """The phase that something is in.

    Args:
        table: for each phase those that may follow it.
        now: the first one.
    """

    __slots__ = ("_table", "now")

    def __init__(self, table: Mapping[P, Collection[P]], now: P) -> None:
        self._table = table
        self.now = now

    def go(self, phase: P) -> None:
        """Enter the next phase.

        Raises:
            IllegalTransitionError: it does not follow the one that it is in.
        """
        if phase not in self._table[self.now]:
            raise IllegalTransitionError(f"{phase} cannot follow {self.now}")
        self.now = phase
