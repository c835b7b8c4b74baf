"""The rooms that are watched: those of the configuration in use, which may change."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from tdbwatch.client import Client
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import RoomConfig
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.intake.watched import WatchedRoom

_CHANGED: Final = "its configuration was changed"


class Rooms:
    """Iterates over the rooms of now, in the order of the configuration."""

    def __init__(self, configs: Iterable[RoomConfig], source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._rooms = {config.target: WatchedRoom(config, source, clock) for config in configs}

    def __iter__(self) -> Iterator[WatchedRoom]:
        return iter(list(self._rooms.values()))

    async def join(self, client: Client) -> None:
        """Hear all of them."""
        for room in self:
            await client.subscribe(room.subscription)

    async def leave(self, client: Client) -> None:
        """Hear none of them any more."""
        await asyncio.gather(*(client.unsubscribe(room.subscription) for room in self))

    def change(self, configs: Iterable[RoomConfig], client: Client) -> list[WatchedRoom]:
        """From now on these are the rooms; returns those that are to be joined.

        What was heard before must have been gathered. A room that stays goes on to be heard, whatever else
        is said of it now. Where another one is called as one was before, records would not tell them apart:
        so that there is no overlap, what is missed in between is a gap.
        """
        before, self._rooms = self._rooms, {}
        names = {room.lane for room in before.values()}
        new: list[WatchedRoom] = []
        for config in configs:
            room = before.pop(config.target, None)
            if room is not None:
                room.configure(config)
            else:
                new.append(room := WatchedRoom(config, self._source, self._clock))
            self._rooms[config.target] = room
        for room in before.values():
            client.discard(room.subscription)
            room.end()
        for room in new:
            if room.lane in names:
                room.silent(Cause.ROOM, _CHANGED)
        return new
