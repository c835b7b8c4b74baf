"""`tdbwatch check --connect`: logs in at every node, and joins every room once, as the daemon would."""

import asyncio
import sys
from typing import TYPE_CHECKING

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.rooms.access import answered, connected
from tdbwatch.client.words import beside
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.config.models.config import Sections
    from tdbwatch.daemon.config.models.thingsdb import ThingsDBConfig


def connect(sections: "Sections") -> int:
    """Say how each node and each room was found; returns the exit code.

    Raises:
        CommandError: no node lets us in, or what it is asked is not answered.
    """
    from tdbwatch.daemon import logs

    logs.configure("critical", "console", sys.stderr)  # what comes of each room is told here
    return asyncio.run(_connect(sections))


async def _connect(sections: "Sections") -> int:
    nodes = sections.thingsdb.nodes
    alone = [sections.thingsdb.model_copy(update={"nodes": (node,), "connections": 1}) for node in nodes]
    refused = await asyncio.gather(*(_refusal(one) for one in alone))
    good = [one for one, error in zip(alone, refused, strict=True) if error is None]
    for node, error in zip(nodes, refused, strict=True):
        if error is None:
            say(f"connected to {node}")
        elif len(nodes) > 1:
            print(f"not connected to {node}: {beside(node, str(error))}", file=sys.stderr)
    failed = [error for error in refused if error is not None]
    if not good:
        code = max(error.code for error in failed)
        raise CommandError(code, str(failed[0]) if len(nodes) == 1 else "no node lets us in")
    code = await _join(sections, good[0])
    return max(code, *(error.code for error in failed)) if failed else code


async def _refusal(thingsdb: "ThingsDBConfig") -> CommandError | None:
    """Why its node does not let us in, if it does not."""
    try:
        async with connected(thingsdb):
            return None
    except CommandError as error:
        return error


async def _join(sections: "Sections", thingsdb: "ThingsDBConfig") -> int:
    from tdbwatch.client.rooms.subscriptions import RoomStatus
    from tdbwatch.clock import SYSTEM_CLOCK
    from tdbwatch.daemon.intake.source import Source
    from tdbwatch.daemon.intake.watched import WatchedRoom
    from tdbwatch.daemon.status import remedies
    from tdbwatch.redaction import presentable

    source = Source(lambda _: None, SYSTEM_CLOCK)
    rooms = [WatchedRoom(room, source, SYSTEM_CLOCK) for room in sections.rooms]
    async with connected(thingsdb) as client:
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
