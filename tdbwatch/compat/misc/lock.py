"""As `thingsdb.misc.lock`: locks that programs on several machines share, kept in a collection of their own.

    await setup(client)
    async with lock(client, "nightly", timeout=600):
        ...

Who asks for a lock gets a room and a place in the lock's line. Whoever is first in it holds the lock; the
next one is told by an event in its room. The server takes the lock away from a holder after its timeout.
Programs that use python-thingsdb's module may share the collection, whichever of the two has set it up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from tdbwatch.client import Client
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.room import Room, event

SETUP: Final = """
    .lines = {};

    new_procedure('begin', |name| {
        turn = .lines.get(name).first();
        turn.expiry = task(
            datetime().move('seconds', turn.timeout),
            |_, name, room_id| wse(run('release', name, room_id)),
            [name, turn.room.id()],
        );
        nil;
    });

    new_procedure('acquire', |name, timeout| {
        if (!.lines.has(name)) .lines.set(name, []);
        line = .lines.get(name);
        ahead = line.len();
        line.push({room: room(), timeout: timeout, expiry: nil});
        if (ahead == 0) wse(run('begin', name));
        [ahead == 0, line.last().room.id(), ahead];
    });

    new_procedure('release', |name, room_id| {
        line = .lines.get(name);
        if (is_nil(line)) return nil;
        place = line.find_index(|turn| turn.room.id() == room_id);
        if (is_nil(place)) return nil;
        try(line.splice(place, 1).first().expiry.del());
        if (line.len() == 0) {
            .lines.del(name);
            return nil;
        };
        if (place == 0) {
            wse(run('begin', name));
            line.first().room.emit('go');
        };
        nil;
    });

    new_procedure('test', |room_id| .lines.values().some(|line| line.first().room.id() == room_id));

    new_procedure('locked', |name| .lines.has(name));

    nil;
"""


_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Seconds between tries to reach what was made a moment ago."""


class _Turn(Room):
    """The place in the line of one who waits."""

    def __init__(self, room: int, scope: str) -> None:
        super().__init__(room, scope)
        self.come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_join(self) -> None:
        assert self.client is not None
        has_come = await self.client.run("test", self.id, scope=self.scope)
        if has_come:  # and its event perhaps went by before this client heard the room
            self.on_go()

    @event("go")
    def on_go(self) -> None:
        if not self.come.done():
            self.come.set_result(None)

    def on_delete(self) -> None:
        if not self.come.done():
            error = TimeoutError("the lock's timeout was over before this client heard of its turn")
            self.come.set_exception(error)


async def setup(client: Client, collection: str = "lock") -> None:
    """Make the collection for locks, unless there is one of that name. It needs CHANGE on `@thingsdb`."""
    if not await client.has_collection(collection):
        await client.new_collection(collection)
        await _once_known(client, lambda: client.query(SETUP, scope=f"//{collection}"))


@asynccontextmanager
async def lock(client: Client, name: str, scope: str = "//lock", timeout: int = 60) -> AsyncIterator[int]:
    """Hold a lock while the block runs; the value is the lock's id.

    Args:
        timeout: seconds for which it is held at most: then the server gives it to the next one.

    Raises:
        TimeoutError: the turn came and its time went by while this client was away from the server.
    """
    at_once, room_id, _ = await client.run("acquire", name, timeout, scope=scope)
    try:
        if not at_once:
            await _wait(client, _Turn(room_id, scope))
        yield room_id
    finally:
        await client.run("release", name, room_id, scope=scope)


async def locked(client: Client, name: str, scope: str = "//lock") -> bool:
    """Whether anybody holds a lock."""
    return bool(await client.run("locked", name, scope=scope))


async def _wait(client: Client, turn: _Turn) -> None:
    """Each one before has a timeout, after which the server goes on: there is no need for one here."""
    await _once_known(client, lambda: turn.join(client, wait=None))
    try:
        await turn.come
    finally:
        with suppress(RoomLookupError):  # it goes with its place in the line
            await turn.leave()


async def _once_known(client: Client, ask: Callable[[], Awaitable[object]]) -> None:
    """Ask for what was just made. A node that is away has another one make it, and learns of it later.

    Raises:
        LookupError: the node does not know it after some seconds either.
    """
    for pause in _PAUSES:
        try:
            await ask()
        except RoomLookupError:
            await client.__tdbwatch__.settings.clock.sleep(pause)
        else:
            return
    await ask()


__all__ = ["lock", "locked", "setup"]
