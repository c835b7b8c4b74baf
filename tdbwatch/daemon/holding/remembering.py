"""The daemon's side of what routes remember: what they decide and tell goes into the spool."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.holding import INTERVAL, MOST_BYTES, Due, Holding, Told
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.intake.causes import STALL
from tdbwatch.daemon.intake.rooms import Rooms
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.api import Spool, SpoolError
from tdbwatch.daemon.spool.stored.blocks import Heard
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.plugin import Kind

_STALLED: Final = 10.0
"""Seconds after which a turn that comes so late says that tdbwatch stood still."""
_GROUPS_SHARE: Final = 16
"""Groups take one part in so many of the spool at most."""


class Remembering:
    """Asks the routes in use when events are heard and, once it runs, each second.

    Attributes:
        holding: what they remember.
    """

    def __init__(
        self, in_use: InUse, router: Router, source: Source, spool: Spool, rooms: Rooms, clock: Clock
    ) -> None:
        self._source = source
        self._spool = spool
        self._clock = clock
        self._log = structlog.get_logger("tdbwatch")
        self.holding = Holding(
            router,
            lambda told, _: self._made(told),
            lambda: {room.lane: room.silence_now for room in rooms},
            most_bytes=lambda: min(MOST_BYTES, in_use.config.spool.max_size // _GROUPS_SHARE),
        )

    async def load(self) -> None:
        """Go on with what was remembered; routes begin anew where the spool cannot say what that was."""
        marks: Sequence[Mark] = ()
        try:
            marks = await self._spool.marks()
        except SpoolError as error:  # a damaged file is replaced while tdbwatch runs
            self._log.warning("routes.forgot", error=str(error))
        self.holding.load(marks, self._now_us)

    async def run(self) -> None:
        """Have routes tell what is due."""
        looked = self._clock.time()
        while True:
            await self._clock.sleep(INTERVAL)
            before, looked = looked, self._clock.time()
            if looked - before > _STALLED:  # what came meanwhile is still to be read
                reason = f"tdbwatch stood still for {looked - before:.0f} s, or the clock was set forward"
                self.holding.unheard(STALL, reason, int(looked * 1e6))
            else:
                await self._tell()
                looked = self._clock.time()

    async def _tell(self) -> None:
        """Have routes tell what is due; of very much a part at a time, so that nothing else waits for it."""
        self.look()
        while (due_us := self.holding.next_us) is not None and due_us <= self._now_us:
            await asyncio.sleep(0)
            self.look()

    def heard(self, heard: Sequence[Heard]) -> None:
        """These events were heard."""
        self._spool.append(self.holding.heard(heard))

    def look(self) -> None:
        """Have routes tell what is due now."""
        self._source.flush()
        self._keep(self.holding.due(self._now_us))

    def change(self, router: Router) -> None:
        """From now on these are the routes in use; all that was heard before was gathered."""
        self.look()
        self._keep(self.holding.change(router, self._now_us))

    def save_all(self) -> None:
        """The spool's file is a new one."""
        self._spool.remember(self.holding.marks())

    @property
    def _now_us(self) -> int:
        return int(self._clock.time() * 1e6)

    def _keep(self, due: Due) -> None:
        self._spool.append(due.heard)
        self._spool.remember(due.marks)

    def _made(self, told: Told) -> Heard:
        if told.kind is Kind.ABSENCE:
            said = {key: told.details[key] for key in ("seconds", "heard", "reason")}
            if told.details["over"]:
                self._log.info("absence.over", absence=told.event, seconds=said["seconds"])
            else:
                self._log.warning("absence.began", absence=told.event, **said)
        return self._source.told(told)
