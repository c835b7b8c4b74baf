"""The two clients, with the same rooms and handlers: python-thingsdb and this one."""

import asyncio
import time
from types import ModuleType
from typing import Any, Final

from bench.measure import Watch
from bench.stream import EVENT, FIRST, LAST, ROOM_ID

NAMES: Final = ("python-thingsdb", "tdbwatch")


def modules(name: str) -> tuple[ModuleType, ModuleType]:
    """The modules of the client and of the room; only those of the contestant are loaded."""
    if name == "tdbwatch":
        import tdbwatch.client
        import tdbwatch.room

        return tdbwatch.client, tdbwatch.room
    import thingsdb.client
    import thingsdb.room

    return thingsdb.client, thingsdb.room


async def join(name: str, room: Any, port: int) -> Any:
    """Connect to a server of the bench and hear the room; returns the client."""
    client_module, _ = modules(name)
    client = client_module.Client()
    await client.connect_pool([("127.0.0.1", port)], "admin", "pass")
    client.set_default_scope("//stuff")
    await room.join(client)
    return client


def empty_room(name: str, watch: Watch) -> Any:
    """A room whose handler does nothing, and a future for the end of the blast."""
    _, rooms = modules(name)

    class Empty(rooms.Room):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(ROOM_ID)
            self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        @rooms.event(FIRST)
        def on_first(self) -> None:
            watch.start()

        @rooms.event(EVENT)
        def on_event(self, host: str, mount: str, percent: float, number: int, details: Any) -> None:
            pass

        @rooms.event(LAST)
        def on_last(self) -> None:
            watch.stop()
            self.ended.set_result(None)

    return Empty()


def timing_room(name: str, latencies: list[float]) -> Any:
    """A room whose handler notes how old each event is, in seconds."""
    _, rooms = modules(name)

    class Timing(rooms.Room):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(ROOM_ID)
            self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        @rooms.event(EVENT)
        def on_event(self, due_ns: int, *_: Any) -> None:
            latencies.append((time.monotonic_ns() - due_ns) / 1e9)

        @rooms.event(LAST)
        def on_last(self) -> None:
            self.ended.set_result(None)

    return Timing()
