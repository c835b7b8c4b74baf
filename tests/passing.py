"""Deadlines of the product that pass when a test says so, not when a busy machine lets them."""

import asyncio


def let_pass(seconds: float) -> None:
    """From now on the running loop is so much later: its timers are due, as if nothing had happened since."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds  # type: ignore[method-assign]
