"""A deadline on any await, by the injected clock."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from tdbwatch.clock import SYSTEM_CLOCK, Clock

_T = TypeVar("_T")


class DeadlineError(Exception):
    """It took longer than it may.

    Attributes:
        seconds: how long it may take.
        where: `file:line` where it was then, if that is known, and what else was the matter there.
    """

    def __init__(self, seconds: float, where: str = "") -> None:
        super().__init__(seconds, where)
        self.seconds = seconds
        self.where = where

    def __str__(self) -> str:
        return f"no answer within {self.seconds:g} s" + (f" (it was at {self.where})" if self.where else "")


async def within(clock: Clock, seconds: float, awaited: Awaitable[_T]) -> _T:
    """The result of `awaited`, which is cancelled when it takes longer than `seconds`.

    Raises:
        DeadlineError: it took longer. A `TimeoutError` raised inside stays what it is.
    """
    if clock is not SYSTEM_CLOCK:
        return await _race(clock, seconds, awaited)
    deadline = asyncio.timeout(seconds)  # two tasks fewer than a race
    try:
        async with deadline:
            return await awaited
    except TimeoutError:
        if deadline.expired():
            raise DeadlineError(seconds) from None
        raise


async def _race(clock: Clock, seconds: float, awaited: Awaitable[_T]) -> _T:
    job = asyncio.ensure_future(awaited)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((job, timer), return_when=asyncio.FIRST_COMPLETED)
        if job.done():
            return job.result()
        raise DeadlineError(seconds)
    finally:
        for task in (job, timer):
            task.cancel()
        await asyncio.gather(job, timer, return_exceptions=True)
