"""`tdbwatch check --connect`: logs in and joins every room once, as the daemon would."""

import asyncio
import sys
from typing import TYPE_CHECKING

from tdbwatch.cli import exits
from tdbwatch.cli.access import answered, connected
from tdbwatch.cli.output import say
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.config.models import Sections


def connect(sections: "Sections") -> int:
    """Say how each room was found; returns the exit code.

    Raises:
        CommandError: no node can be reached or answers, or the login is refused.
    """
    from tdbwatch.daemon import logs

    logs.configure("critical", "console", sys.stderr)  # what comes of each room is told here
    return asyncio.run(_connect(sections))


async def _connect(sections: "Sections") -> int:
    from tdbwatch.client.rooms import RoomStatus
    from tdbwatch.clock import SYSTEM_CLOCK
    from tdbwatch.daemon.source import Source
    from tdbwatch.daemon.status import remedies
    from tdbwatch.daemon.watched import WatchedRoom
    from tdbwatch.redaction import presentable

    source = Source(lambda _: None, SYSTEM_CLOCK)
    rooms = [WatchedRoom(room, source, SYSTEM_CLOCK) for room in sections.rooms]
    async with connected(sections.thingsdb) as client:
        say(f"connected to {client.connection_info()}")
        async with answered():
            await asyncio.gather(*(client.subscribe(room.subscription) for room in rooms))
        missing = 0
        for room in rooms:
            subscription = room.subscription
            if subscription.status is RoomStatus.JOINED:
                say(f"joined {room.name} in {room.scope} (id {subscription.id})")
            else:
                missing += 1
                say(f"not joined: {room.name} in {room.scope}: {presentable(subscription.reason)}")
                state, by_code = subscription.status.value, subscription.is_code
                say(f"    {remedies.room(state, room.scope, subscription.error, by_code=by_code)}")
    if missing:
        print(f"{counted(missing, 'room')} cannot be joined", file=sys.stderr)
    return exits.UNAVAILABLE if missing else exits.OK
