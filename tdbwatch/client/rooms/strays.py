"""Pushes about rooms that nobody joined under that name: of renamed collections, or just left."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from tdbwatch.client.links.link import Link
from tdbwatch.client.rooms.link_rooms import LinkRooms
from tdbwatch.clock import Clock
from tdbwatch.exceptions import LookupError as CollectionLookupError
from tdbwatch.exceptions import ThingsDBError
from tdbwatch.loggers import get_logger, is_worth_saying
from tdbwatch.wire import Emit, Kind, RawEmit, RoomDelete
from tdbwatch.wire.scopes import collection_of

log = get_logger("tdbwatch.client")

MAX_HELD: Final = 10_000
"""Pushes kept for one unknown scope until it is known whose they are."""
MAX_SCOPES: Final = 16
"""Unknown scopes that are looked into at the same time."""
FOREIGN_FOR: Final = 10.0
"""Seconds for which a scope that turned out to be none of ours is not looked into again."""
ASK_TIMEOUT: Final = 10.0

Stray = Emit | RawEmit | RoomDelete


class Strays:
    """Finds out whose a push of an unknown scope is, and holds back what comes of that scope meanwhile.

    Renaming a collection changes the scope of later pushes while its rooms stay joined, and nothing is said
    about it (recording `collection-renamed`). The ids are of little help: they are per collection. But the
    server can be asked: a JOIN of no rooms is answered `[]` if the collection exists, with an error if not.

    If all exist, one was renamed and another one made under its name, or the room was just left. The server
    pushes only what was joined on this connection, so a scope that we never knew means the former. Which one
    it was is not always known: all that have a room of this id are looked into.
    """

    def __init__(
        self,
        link: Link,
        rooms: LinkRooms,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        hear_again: Callable[[Stray], None],
        displaced: Callable[[Sequence[str], str], None],
    ) -> None:
        self.dropped = 0
        """Pushes that nobody wanted, or that were too many to hold."""
        self._link = link
        self._rooms = rooms
        self._clock = clock
        self._spawn = spawn
        self._hear_again = hear_again
        self._displaced = displaced
        self._held: dict[str, list[Stray]] = {}
        self._foreign: dict[str, float] = {}

    def hear(self, stray: Stray) -> None:
        """Take a push that no room is known for."""
        scope = stray.scope
        if scope is None:
            self.dropped += 1  # an old server, and a room that was just left
        elif (held := self._held.get(scope)) is not None:
            self._hold(held, stray)
        elif self._may_be_ours(scope, stray.id):
            self._held[scope] = [stray]
            self._spawn(self._find_owner(scope, stray.id), f"tdbwatch-stray {scope:.40}")
        else:
            self.dropped += 1
            log.debug(
                "%s: a push about a room that is not joined: %s %d", self._link.address, scope, stray.id
            )

    def named(self, scope: str, room_id: int) -> None:
        """A ROOM_JOIN names a room's collection: how those that were asked for by their id are called."""
        numbered = [c for c in self._rooms.with_id(room_id) if is_numbered(c)]
        if len(numbered) == 1:
            self._rooms.rename(numbered[0], scope)

    def _hold(self, held: list[Stray], stray: Stray) -> None:
        if len(held) < MAX_HELD:
            held.append(stray)
            return
        self.dropped += 1
        if is_worth_saying(self.dropped):
            log.error("%s: %d events of unknown rooms dropped", self._link.address, self.dropped)

    def _may_be_ours(self, scope: str, room_id: int) -> bool:
        now = self._clock.monotonic()
        if self._foreign.get(scope, 0.0) > now or len(self._held) >= MAX_SCOPES:
            return False
        return bool(self._rooms.with_id(room_id))

    async def _find_owner(self, scope: str, room_id: int) -> None:
        asked = self._rooms.with_id(room_id)
        exists = {collection: await self._exists(collection) for collection in asked}
        vanished = [collection for collection in asked if exists[collection] is False]
        if len(vanished) == 1:
            self._rooms.rename(vanished[0], scope)
        else:
            if all(exists.values()) and not self._rooms.knows(scope):
                self._displaced(asked, scope)
            if len(self._foreign) >= MAX_HELD:
                self._foreign.clear()
            self._foreign[scope] = self._clock.monotonic() + FOREIGN_FOR
        for stray in self._held.pop(scope):  # no await since the renaming: nothing can come in between
            if self._rooms.has(stray):
                self._hear_again(stray)
            else:
                self.dropped += 1

    async def _exists(self, collection: str) -> bool | None:
        """Whether there is one of this name; None: unknown. One asked for by id never had the name."""
        if is_numbered(collection):
            return False
        try:
            await self._link.call(Kind.JOIN, [collection], timeout=ASK_TIMEOUT)
        except CollectionLookupError:
            return False
        except (ThingsDBError, OSError) as error:
            log.warning("%s: cannot tell whether %s was renamed: %s", self._link.address, collection, error)
            return None
        return True


def is_numbered(collection: str) -> bool:
    """Whether a scope means its collection by id; no name starts with a digit."""
    return (collection_of(collection) or "").isdigit()
