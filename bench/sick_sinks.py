"""Sinks that are sick in their code, as a plugin file: `bench.isolation_worker` copies it beside a daemon."""

import asyncio
import time

from tdbwatch.plugin import Event, sink

FOR_EVER = 3_600.0
"""Seconds: longer than any run."""


@sink("raises")
def raises(event: Event) -> None:
    """Raises, whatever it gets."""
    raise RuntimeError(f"no use for {event.event}")


@sink("blocks")
def blocks(event: Event) -> None:  # noqa: ARG001
    """Blocks its thread."""
    time.sleep(FOR_EVER)


@sink("awaits")
async def awaits(event: Event) -> None:  # noqa: ARG001
    """Awaits what does not come."""
    await asyncio.sleep(FOR_EVER)
