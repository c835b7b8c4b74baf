"""Signs of life: until when which room was heard, so that the next start knows what was missed."""

import asyncio
from contextlib import suppress
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.intake.node_watch import NodeWatcher
from tdbwatch.daemon.intake.rooms import Rooms
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.spool.api import Spool, SpoolError
from tdbwatch.daemon.spool.stored.beats import Beat

BEAT_INTERVAL: Final = 2.0
"""Seconds between signs of life, at most: by so much a gap may seem longer than it was."""
FIRST_SECONDS: Final = 2.0
"""Seconds for which the very first one may hold up the rooms; what is wrong with the disk the spool says."""


class Beating:
    """Keeps signs of life in the spool."""

    def __init__(self, rooms: Rooms, nodes: NodeWatcher, source: Source, spool: Spool, clock: Clock) -> None:
        self._rooms = rooms
        self._nodes = nodes
        self._source = source
        self._spool = spool
        self._clock = clock
        self._knows_downtime = False
        self._soon = asyncio.Event()

    def tell_of_downtime(self) -> None:
        """Nobody listened since the last daemon did: a gap that ends with the first join.

        What was not heard even then is a gap of its own, with its own cause.
        """
        last = self._spool.last_beat
        for room in self._rooms:
            if last is not None:
                since, before = last.time, last.silent.get(room.lane)
                if before is not None and before.cause is Cause.DOWNTIME:
                    since = before.since
                elif before is not None:
                    room.silent(before.cause, before.reason, before.since)
                room.silent(Cause.DOWNTIME, "tdbwatch was not running", since)
        self._knows_downtime = True

    async def first(self) -> None:
        """In a spool without any sign of life have one before a room is heard.

        Else a daemon that is killed then leaves nothing behind, and the next takes itself for the first.
        """
        if self._spool.last_beat is None:
            self.beat()
            with suppress(DeadlineError, SpoolError):
                await within(self._clock, FIRST_SECONDS, self._spool.flush())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._soon.clear()
            self.beat()
            with suppress(DeadlineError):
                await within(self._clock, BEAT_INTERVAL, self._soon.wait())

    def soon(self) -> None:
        """Something is heard now, or not any more: the next one should not wait."""
        self._soon.set()

    def beat(self) -> None:
        """Say until when which room was heard. It is durable with all that was heard before, never sooner."""
        if not self._knows_downtime:  # else the last daemon's beat would be gone unread
            return
        silent = {room.lane: silence for room in self._rooms if (silence := room.silence_now) is not None}
        self._nodes.tell_of_unreadable()
        self._source.flush()
        self._spool.beat(Beat(self._clock.time(), silent))
