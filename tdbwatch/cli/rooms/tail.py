"""`tdbwatch tail`: joins rooms and prints what is heard, at once and without a daemon."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.output import finish, say
from tdbwatch.cli.rooms.access import Access, access_of, add_access, connected, room_of
from tdbwatch.cli.terminal import is_terminal, paint

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.stored.blocks import Heard
    from tdbwatch.plugin import Event

_DESCRIPTION = """\
Join rooms and print what is emitted, without a daemon. On a terminal one line
an event; else records as JSON. A missing room is joined once it is there."""
_EXAMPLE = """\
example:
  tdbwatch tail --node node01 --user admin alerts //ops/deploys
  tdbwatch tail --config prod.yaml --event 'disk-*' | jq .args"""
_COUNT: Final = 1 << 62


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "tail", help="print what rooms hear, without a daemon", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.usage = f"{parser.prog} [-h] (--config FILE | --node NODE) [...] [ROOM ...]"
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help="alerts, //ops/deploys or an id")
    add_access(parser)
    parser.add_argument("--event", metavar="GLOB", default="*", help="only events whose name it matches")
    parser.add_argument("--count", type=int, metavar="N", default=_COUNT, help="end after N events")
    parser.add_argument("--json", action="store_true", help="print JSON on a terminal, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print until Ctrl-C or the last event that was asked for; returns the exit code."""
    from tdbwatch.daemon import logs

    if options.count < 1:
        raise exits.CommandError(exits.USAGE, "--count must be at least 1")
    access = access_of(options)
    scope = options.scope or access.thingsdb.scope
    rooms = tuple(room_of(text, scope) for text in options.rooms) or access.rooms
    if not rooms:
        raise exits.CommandError(exits.USAGE, "which rooms? name some, or give --config")
    logs.configure("error", "console", sys.stderr)  # what becomes of rooms is told here
    asyncio.run(_tail(Access(access.thingsdb, rooms), options))
    return exits.OK


async def _tail(access: Access, options: argparse.Namespace) -> None:
    from tdbwatch.clock import SYSTEM_CLOCK
    from tdbwatch.daemon.intake.source import Source
    from tdbwatch.daemon.intake.watched import WatchedRoom

    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's waits for a write that nobody reads
    heard: asyncio.Queue[Sequence[Heard]] = asyncio.Queue()
    source = Source(heard.put_nowait, SYSTEM_CLOCK)
    as_json, left = options.json or not is_terminal(), options.count
    async with connected(access.thingsdb) as client:
        await asyncio.gather(
            *(client.subscribe(WatchedRoom(room, source, SYSTEM_CLOCK).subscription) for room in access.rooms)
        )
        while left:
            for lane, run_ in await heard.get():
                for event in run_.unpacked(lane):
                    if event.kind != "event":
                        _tell(event)
                    elif left and fnmatchcase(event.event, options.event):
                        left -= 1
                        say(event.json().decode() if as_json else _line(event))
            finish()


def _tell(event: "Event") -> None:
    """What becomes of a room, beside the events."""
    from tdbwatch.printable import printable

    details = event.details
    what = "events may have been missed" if event.kind == "gap" else event.event
    since = f" since {details['since']}" if details.get("since") else ""
    why = f": {details['reason']}" if details.get("reason") else ""
    print(printable(f"-- {event.scope} {event.room}: {what}{since}{why}"), file=sys.stderr, flush=True)


def _line(event: "Event") -> str:
    from tdbwatch.plugin.jsonable import to_jsonable
    from tdbwatch.printable import printable

    when = datetime.fromtimestamp(event.received_us / 1e6).astimezone().strftime("%H:%M:%S.%f")[:-3]
    record = event.record()
    try:
        args = json.dumps(record.get("data") or record["args"], ensure_ascii=False)
    except RecursionError:  # nested deeper than JSON can be made: show what came
        args = json.dumps(to_jsonable([event.payload]))
    name = paint(printable(event.event), "bold")
    return f"{paint(when, 'dim')}  {printable(event.room)}  {name}  {printable(args)}"
