"""Waiting for what other processes do: it has to be looked at again and again, and for so long only."""

import asyncio
import time
from typing import Any, Final

POLL: Final = 0.1
"""Seconds between two looks at a node."""


class ClusterError(Exception):
    """The cluster did not do what was asked of it in time; `log` of the node tells more."""


async def until(condition: Any, what: Any, timeout: float = 30.0) -> None:
    """Look again and again until `condition`, plain or async, holds.

    Raises:
        ClusterError: it did not within `timeout` seconds; the message names `what`.
    """
    end = time.monotonic() + timeout
    while True:
        holds = condition()
        if await holds if asyncio.iscoroutine(holds) else holds:
            return
        if time.monotonic() > end:
            raise ClusterError(f"waited {timeout:g} s in vain for {what() if callable(what) else what}")
        await asyncio.sleep(POLL)
