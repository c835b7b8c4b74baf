"""Tells of sinks that were renamed or removed, and left events that nobody gets any more."""

import asyncio
import sqlite3

import structlog

from tdbwatch.daemon.hosting.stores import Stores
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.looking.gone import left_in
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.status import remedies


class GoneSinks:
    """Looks into the spool for what they left."""

    def __init__(self, in_use: InUse, spool: SqliteSpool, stores: Stores) -> None:
        self._in_use = in_use
        self._spool = spool
        self._stores = stores
        self._log = structlog.get_logger("tdbwatch")

    async def tell(self) -> None:
        """Of all."""
        await self._tell(None)

    async def gone(self, name: str) -> None:
        """This one was closed for good, unless it is back by now."""
        try:
            await self._spool.flush()
        except SpoolError:  # which the spool tells of itself
            return
        if name not in self._names:
            self._stores.leave(name)
            await self._tell(name)

    @property
    def _names(self) -> list[str]:
        return [sink.name for sink in self._in_use.config.sinks]

    async def _tell(self, name: str | None) -> None:
        try:
            found = await asyncio.to_thread(left_in, self._spool.path, self._names)
        except (OSError, SpoolError, sqlite3.Error):  # the spool itself says what is wrong with its file
            return
        for one in found:
            if name in {None, one.sink}:
                self._log.warning(
                    "sink.gone",
                    sink=one.sink,
                    events=one.events,
                    dead_letters=one.dead_letters,
                    values=one.values,
                    remedy=remedies.left_behind(one.sink),
                )
