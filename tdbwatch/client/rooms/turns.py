"""Of rooms that join at the same time, `on_init` is called for each before `on_join` is called for the first.

Programs for python-thingsdb see it so: there every join waits for the one before. Here joins run side by
side, and only `on_join` waits, for the first attempts of the joins that began before it.
"""

import asyncio
from collections import deque
from typing import Final

PATIENCE: Final = 1.0
"""Seconds that an `on_join` waits for other rooms' joins: one that takes longer holds up no other room."""


class Turn:
    """A join that is under way."""

    __slots__ = ("_turns", "ended", "waiting")

    def __init__(self, turns: "Turns") -> None:
        self._turns = turns
        self.ended = False
        self.waiting: list[asyncio.Future[None]] = []

    def end(self) -> None:
        """`on_init` was called, or the first attempt is over."""
        self.ended = True
        self._turns.pass_on()


class Turns:
    """A client's joins that are under way, in the order in which they began."""

    def __init__(self) -> None:
        self._under_way: deque[Turn] = deque()

    def begin(self) -> Turn:
        """A join begins."""
        turn = Turn(self)
        self._under_way.append(turn)
        return turn

    async def wait(self) -> None:
        """Return when every join that is under way now has ended, or has taken too long."""
        if self._under_way:
            passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._under_way[-1].waiting.append(passed)
            await asyncio.wait({passed}, timeout=PATIENCE)

    def pass_on(self) -> None:
        """Wake those who waited for joins of which each one has ended."""
        while self._under_way and self._under_way[0].ended:
            for passed in self._under_way.popleft().waiting:
                passed.set_result(None)
