"""What passes from the writer's thread to the event loop."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from tdbwatch.daemon.spool.api import DamageReport, Entry
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.requests import Request


@dataclass(slots=True)
class News:
    """What the event loop hears after a turn of the writer.

    Attributes:
        asked: sinks that people ask to be delivered to again, with requests that were not there before.
        missed: a request that did not find all that it was about any more.
        entries: new ones in the log, with their `weights` in memory.
        waiters: those whose wait is over.
        abandoned: those who waited in vain.
        inquires: the writer wants to know what sinks have not finished.
        forgotten: entries up to this one are gone.
        missing: how many are missing behind the first; None: as before.
        trouble: why the disk refuses; empty: it accepts again.
        refuses: under `drop_newest`, whether the spool is full of what is undelivered.
        catching_up: whether more is about to be dropped for its age; what tells of it may as well wait.
        log_bytes: the size of SQLite's log, where that has grown too large.
        failed: what the writer died of.
        uncounted: what was dropped is not even counted in the file.
        ended: the writer's thread has ended.
    """

    asked: Collection[str] = ()
    missed: Request | None = None
    entries: list[Entry] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    waiters: list["asyncio.Future[None]"] = field(default_factory=list)
    forgotten: int = 0
    missing: int | None = None
    inquires: bool = False
    drops: list[Tally] = field(default_factory=list)
    trouble: str | None = None
    refuses: bool | None = None
    catching_up: bool | None = None
    log_bytes: int | None = None
    damage: DamageReport | None = None
    lost_letters: int = 0
    failed: BaseException | None = None
    abandoned: list["asyncio.Future[None]"] = field(default_factory=list)
    uncounted: bool = False
    ended: bool = False
