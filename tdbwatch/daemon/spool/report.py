"""What passes from the writer's thread to the event loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tdbwatch.daemon.spool.api import DamageReport, Gone
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.drops import Tally


@dataclass(slots=True)
class TurnReport:
    """What the event loop hears after a turn of the writer, or in the middle of a long one.

    Attributes:
        blocks: new ones in the log.
        gone: blocks that were deleted.
        extent: the first number of the log, and how many entries there are; None: as before.
        waiters: those whose wait is over.
        abandoned: those who waited in vain.
        copied: whose copies are in the log, or found no space.
        drops: what was given up.
        trouble: why the disk refuses; empty: it accepts again.
        refuses: under `drop_newest`, whether the spool is full of what is undelivered.
        catching_up: whether more is about to be dropped for its age; what tells of it may as well wait.
        log_bytes: the size of SQLite's log, where that has grown too large.
        lost_letters: dead letters that were deleted for others.
        failed: what the writer died of.
        uncounted: what was dropped is not even counted in the file.
        ended: the writer's thread has ended.
    """

    blocks: list[Block] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    extent: tuple[int, int] | None = None
    waiters: Sequence["asyncio.Future[None]"] = ()
    abandoned: Sequence["asyncio.Future[Any]"] = ()
    copied: list[tuple["asyncio.Future[bool]", bool]] = field(default_factory=list)
    drops: list[Tally] = field(default_factory=list)
    trouble: str | None = None
    refuses: bool | None = None
    catching_up: bool | None = None
    log_bytes: int | None = None
    damage: DamageReport | None = None
    lost_letters: int = 0
    failed: BaseException | None = None
    uncounted: bool = False
    ended: bool = False

    @property
    def says_anything(self) -> bool:
        return self != TurnReport()
