"""A configuration and a spool that no daemon uses, for the commands about it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import DeadLetter
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.log import entries_of
from tdbwatch.plugin import Event

CONFIG = """
thingsdb: {nodes: [node01], auth: {token: t}}
rooms: [alerts]
sinks: {audit: {type: log}, oncall: {type: log}}
spool: {path: spool.db}
"""
MakeSpool = Callable[..., Path]


async def _make(path: Path, events: list[Event], dead: int) -> None:
    spool = SqliteSpool(path, Limits(max_age=1e9), sinks=["audit", "oncall"])
    await spool.open()
    spool.append(heard(events))
    await spool.flush()
    entries = [entry for block in await spool.read(0, 1 << 24) for entry in entries_of(block)]
    letters = [
        DeadLetter("oncall", e, "refused", n, "503", "504", e.event.received_us, e.event.received_us)
        for n, e in enumerate(entries[:dead], 1)
    ]
    await spool.dead_letter("oncall", 0, {}, letters)
    await spool.close()


@pytest.fixture
def make_spool(tmp_path: Path) -> MakeSpool:
    """Make `prod.yaml` and a spool of these events in a folder of their own; gives the folder.

    Of the first `dead` of them `oncall` has dead letters.
    """

    def make(events: list[Event], *, dead: int = 0) -> Path:
        (tmp_path / "prod.yaml").write_text(CONFIG)
        asyncio.run(_make(tmp_path / "spool.db", events, dead))
        return tmp_path

    return make
