"""The stores of the sinks (`context.store`): in memory, and in the spool."""

from collections.abc import Collection
from functools import partial

import structlog

from tdbwatch.daemon.spool.api import Spool
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.plugin.store import SinkStore


class Stores:
    """One store for each sink, the same one however often the sink is made anew."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._by_sink: dict[str, SinkStore] = {}

    async def load(self, sinks: Collection[str]) -> None:
        """Read what these have kept, before they are made. Those that are here already stay as they are."""
        if not (new := [sink for sink in sinks if sink not in self._by_sink]):
            return
        try:
            found = await self._spool.values()
        except SpoolError as error:  # a damaged file is replaced while tdbwatch runs
            structlog.get_logger("tdbwatch").warning("stores.forgot", error=str(error))
            found = {}
        for sink in new:
            self._by_sink[sink] = SinkStore(found.get(sink), partial(self._spool.keep, sink))

    def of(self, sink: str) -> SinkStore:
        """This sink's, which was loaded."""
        return self._by_sink[sink]

    def leave(self, sink: str) -> None:
        """The sink is gone from the configuration; what it has kept stays in the spool."""
        self._by_sink.pop(sink, None)

    def save_all(self) -> None:
        """Another file took the spool's place: it gets what memory holds."""
        for store in self._by_sink.values():
            store.save_all()
