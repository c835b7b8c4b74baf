"""What the tests of `tdbwatch spool` share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdbwatch.daemon.spool import Attempt, DeadLetter
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.log import entries_of
from tdbwatch.plugin import Event

HOUR_US = 3_600_000_000

CONFIG = """
thingsdb: {nodes: [node01], auth: {token: t}}
rooms: [alerts, ops]
sinks: {audit: {type: log}, oncall: {type: log}}
routes:
  - {match: {room: ops}, to: audit, stop: true}
  - {match: {event: "disk-*"}, to: [audit, oncall]}
spool: {path: spool.db}
"""

Run = Callable[..., tuple[int, str, str]]


def made(count: int) -> list[Event]:
    names = ("disk-full", "cpu-high")
    return [Event.create("alerts", names[n % 2], [n]) for n in range(count)]


def objects(out: str) -> list[Any]:
    return [json.loads(line) for line in out.splitlines()]


async def fill(path: Path, events: list[Event], *, dead: int, outcome: str = "retry") -> None:
    """A spool of these events, of which audit has four and oncall gave up the first `dead`."""
    spool = SqliteSpool(path, sinks=["audit", "oncall"])
    await spool.open()
    for event in events:  # each in a block of its own
        spool.append(heard([event]))
        await spool.flush()
    entries = [entry for block in await spool.read(0, 1 << 24) for entry in entries_of(block)]
    letters = [
        DeadLetter(
            "oncall", entry, "gave up", 3, "503", "504", entry.event.received_us, entry.event.received_us
        )
        for entry in entries[:dead]
    ]
    await spool.dead_letter("oncall", dead, {}, letters)
    spool.note([Attempt("oncall", (1, 2), 1, entries[0].event.received_us, 1500, outcome, "503 busy")])
    spool.save("audit", 4, {})
    await spool.close()
