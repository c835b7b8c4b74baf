"""`tdbwatch emit`: one event, by hand."""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.rooms.access import Access, access_of, add_access, answered, connected, room_of
from tdbwatch.cli.rooms.made_event import value_of
from tdbwatch.printable import printable

if TYPE_CHECKING:
    from tdbwatch.daemon.config import RoomConfig

_DESCRIPTION = """\
Emit one event to a room. An argument that is JSON is sent as what it says, any
other as text."""
_EXAMPLE = """\
example:
  tdbwatch emit alerts disk-full '{"host": "db1", "used": 97}' -c prod.yaml

exit codes: 0 it was emitted, 66 there is no such room, 69 no node can be
reached, 77 this user may not emit, 78 bad configuration or login"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "emit", help="emit an event by hand", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.usage = f"{parser.prog} [-h] (--config FILE | --node NODE) [...] ROOM EVENT [...]"
    parser.add_argument(
        "room", metavar="ROOM", help="alerts, //ops/deploys or an id; or its name in --config"
    )
    parser.add_argument("event", metavar="EVENT", help="the event's name")
    parser.add_argument("args", nargs="*", metavar="ARG", help="its arguments")
    add_access(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Emit; returns the exit code."""
    access = access_of(options)
    room = _configured(access, options.room) or room_of(options.room, options.scope or access.thingsdb.scope)
    asyncio.run(_emit(access, room, options.event, [value_of(text) for text in options.args]))
    say(f"emitted {printable(options.event)} to {room.record_name} in {room.scope}")
    return exits.OK


def _configured(access: Access, name: str) -> "RoomConfig | None":
    """The configuration's room that records call so."""
    return next((room for room in access.rooms if room.record_name == name), None)


async def _emit(access: Access, room: "RoomConfig", event: str, args: list[Any]) -> None:
    from tdbwatch.exceptions import ForbiddenError, LookupError, ThingsDBError

    try:
        async with connected(access.thingsdb) as client, answered():
            key = room.name if room.id is None else room.id
            if room.code is not None:
                key = await client.query(room.code, scope=room.scope)
            if not isinstance(key, int | str):
                message = f"the code of {room.record_name} must return a room's id, not {key!r}"
                raise CommandError(exits.NO_INPUT, message)
            await client.emit(key, event, *args, scope=room.scope)
    except LookupError as error:
        message = f"there is no room {room.record_name!r} in {room.scope}: {error}"
        raise CommandError(exits.NO_INPUT, message) from error
    except ForbiddenError as error:
        message = f"{error}; grant the user what docs/operations.md lists"
        raise CommandError(exits.NO_PERMISSION, message) from error
    except (ThingsDBError, OSError) as error:
        raise CommandError(exits.UNAVAILABLE, f"it could not be emitted: {error}") from error
    except (ArithmeticError, TypeError, ValueError) as error:
        raise CommandError(exits.USAGE, f"an argument cannot be sent: {error}") from error
