"""One link takes over from another: for a while both hear the rooms, and what both hear goes on once."""

import asyncio
from collections.abc import Mapping

from tdbwatch.client.links.link import Link, Phase
from tdbwatch.client.links.settings import Settings
from tdbwatch.client.merging.merge import SETTLE
from tdbwatch.client.rooms.joiner import Joiner
from tdbwatch.loggers import get_logger

log = get_logger("tdbwatch.client")


class Handovers:
    """Those of one keeper.

    Args:
        joiners: of each link that there is.
    """

    def __init__(self, joiners: Mapping[Link, Joiner], settings: Settings) -> None:
        self._joiners = joiners
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> list["asyncio.Task[None]"]:
        """One for each that is under way."""
        return list(self._tasks)

    def prepare(self) -> None:
        """Another link is about to hear the rooms, too."""
        for joiner in self._joiners.values():
            joiner.rooms.begin_merging()

    def begin(self, old: Link | None, new: Link) -> None:
        """From now on `new` is the link; `old` goes once what is on its way to it has come."""
        rooms = self._joiners[new].rooms
        if old is not None:
            self._joiners[old].rest()
            if not old.leaving:
                for subscription in rooms.subscriptions():
                    subscription.taken_over()
        if rooms.merging and (old is not None or not self._settings.merging):
            task = asyncio.create_task(self._finish(old), name=f"tdbwatch-handover {new.address}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def let_go(self, link: Link, reason: str) -> None:
        """It hears nothing any more, finishes its calls and goes."""
        self._joiners[link].stop(reason)
        link.retire()

    def abandoned(self) -> None:
        """A link that should have taken over came to nothing."""
        if not self._tasks:
            self._end_merging()

    async def _finish(self, old: Link | None) -> None:
        clock = self._settings.clock
        await clock.sleep(SETTLE)
        if old is not None and old in self._joiners:
            self.let_go(old, "another node took over")
        await clock.sleep(2 * SETTLE)
        self._end_merging()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    def _end_merging(self) -> None:
        """Back to the short way, once nothing else hears the same rooms."""
        hearing = [joiner for link, joiner in self._joiners.items() if link.phase is not Phase.RETIRING]
        if not self._settings.merging and len(hearing) == 1:
            hearing[0].rooms.end_merging()
