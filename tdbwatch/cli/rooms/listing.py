"""`tdbwatch rooms`: which collections and rooms a node has, and which of them the configuration watches."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.rooms.access import Access, access_of, add_access, answered, connected
from tdbwatch.cli.rooms.room_list import MOST_IDS, Collection, FoundRoom, collections, rooms
from tdbwatch.cli.terminal import NONE, columns, is_terminal
from tdbwatch.daemon.words import counted
from tdbwatch.redaction import presentable

if TYPE_CHECKING:
    from tdbwatch.client import Client
    from tdbwatch.daemon.config import RoomConfig

_DESCRIPTION = """\
List the collections and named rooms of a node, as far as the user may QUERY
them; with --config also which of them the configuration watches. A table on a
terminal; else JSON, one line a room."""
_EXAMPLE = """\
example:
  tdbwatch rooms --config prod.yaml
  tdbwatch rooms --node node01 --user admin | jq -r 'select(.room) | .room'

exit codes: 0 fine, 66 there is no such collection, 69 no node can be reached,
77 this user may not look into any, 78 bad configuration or login"""
_GRANT: Final = "grant the user QUERY there, as docs/operations.md says"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "rooms", help="list a node's collections and rooms", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.usage = f"{parser.prog} [-h] (--config FILE | --node NODE) [...]"
    add_access(parser, scope="only this collection")
    parser.add_argument("--all", action="store_true", help="also rooms that have no name")
    parser.add_argument("--json", action="store_true", help="print JSON on a terminal, too")
    parser.set_defaults(run=run)


@dataclass(slots=True)
class _Findings:
    """What is there, and what is not.

    Attributes:
        rooms: of each collection that could be looked into, in order.
        watched: the configuration's rooms and the ids behind those that are there; None: there is none.
        refused: the collections that could not be looked into, and why.
    """

    rooms: dict[Collection, list[FoundRoom]] = field(default_factory=dict)
    watched: "list[tuple[RoomConfig, int | None]] | None" = None
    refused: dict[str, str] = field(default_factory=dict)


def run(options: argparse.Namespace) -> int:
    """List them; returns the exit code."""
    access = access_of(options)
    found = asyncio.run(_look(access, options.scope, with_config=options.config is not None))
    for scope, why in found.refused.items():
        print(f"{scope}: {presentable(why)}\n    {_GRANT}", file=sys.stderr)
    if not found.rooms:
        return exits.NO_PERMISSION
    shown = list(_shown(found, with_unnamed=options.all))
    if options.json or not is_terminal():
        for row in shown:
            say(json.dumps(row, ensure_ascii=False))
        return exits.OK
    _say_table(shown, with_config=found.watched is not None)
    for collection in found.rooms:
        if collection.past is not None and collection.past > MOST_IDS:
            say(f"\n{collection.scope} has more than {MOST_IDS:,} ids; rooms beyond are not listed")
    hidden = sum(map(len, found.rooms.values())) - sum(
        "missing" not in row and row["id"] is not None for row in shown
    )
    if hidden:
        say(f"\n{counted(hidden, 'room')} without a name; --all shows {'it' if hidden == 1 else 'them'}")
    return exits.OK


async def _look(access: Access, only: str | None, *, with_config: bool) -> _Findings:
    from tdbwatch.exceptions import ForbiddenError, LookupError, ThingsDBError
    from tdbwatch.wire.scopes import short

    found = _Findings()
    known = [short(access.thingsdb.scope), *(short(room.scope) for room in access.rooms)]
    try:
        async with connected(access.thingsdb) as client:
            there = await collections(client, known)
            if only is not None:
                there = [one for one in there if one.scope == short(only)] or [Collection(short(only))]
            for collection in there:
                try:
                    found.rooms[collection] = [room async for room in rooms(client, collection)]
                except ForbiddenError as error:
                    found.refused[collection.scope] = str(error)
            if with_config:
                seen = {collection.scope for collection in found.rooms}
                asked = [room for room in access.rooms if short(room.scope) in seen]
                found.watched = [(room, await _id_of(client, room, found)) for room in asked]
    except LookupError as error:
        raise CommandError(exits.NO_INPUT, str(error)) from error
    except (ThingsDBError, OSError) as error:
        raise CommandError(exits.UNAVAILABLE, f"the rooms cannot be listed: {error}") from error
    return found


async def _id_of(client: "Client", room: "RoomConfig", found: _Findings) -> int | None:
    """The id behind a room of the configuration; None: there is no such room, as far as can be seen."""
    from tdbwatch.exceptions import ThingsDBError
    from tdbwatch.wire.scopes import short

    there = {one for each in found.rooms.values() for one in each if one.scope == short(room.scope)}
    if room.code is not None:
        try:
            async with answered():
                answer = await client.query(room.code, scope=room.scope)
        except ThingsDBError:
            return None
        return answer if isinstance(answer, int) else None
    return next((one.id for one in there if one.id == room.id or one.name == (room.name or "")), None)


def _shown(found: _Findings, *, with_unnamed: bool) -> Iterator[dict[str, Any]]:
    """A row for each room, for each collection without any, and for each room that is watched in vain."""
    from tdbwatch.wire.scopes import short

    watched = {(short(room.scope), room_id): room.record_name for room, room_id in found.watched or ()}
    for collection, there in found.rooms.items():
        listed = [
            one for one in there if one.name is not None or with_unnamed or (one.scope, one.id) in watched
        ]
        if not there:
            yield _row(found, collection.scope, None, None, None)
        for one in listed:
            yield _row(found, one.scope, one.name, one.id, watched.get((one.scope, one.id)))
    for room, room_id in found.watched or ():
        if room_id is None:
            yield _row(found, short(room.scope), room.name, room.id, room.record_name) | {"missing": True}


def _row(
    found: _Findings, scope: str, name: str | None, room_id: int | None, watched: str | None
) -> dict[str, Any]:
    row = {"scope": scope, "room": name, "id": room_id}
    return row if found.watched is None else {**row, "watched": watched}


def _say_table(rows: Sequence[dict[str, Any]], *, with_config: bool) -> None:
    head = ["collection", "room", "id", *(["watched"] if with_config else ())]
    lines = []
    for row in rows:
        room_id = NONE if row["id"] is None else str(row["id"])
        lines.append([row["scope"], row["room"] or NONE, room_id])
        if with_config:
            lines[-1].append(_watched(row))
    for line in columns(head, lines):
        say(line)


def _watched(row: dict[str, Any]) -> str:
    if row.get("missing"):
        return f"as {row['watched']}, but it is not there"
    if row["watched"] is None:
        return "no" if row["id"] is not None else NONE
    return "yes" if row["watched"] == row["room"] else f"as {row['watched']}"
