"""`tdbwatch send SINK`: one test event through a sink, and what it answers."""

import argparse
import asyncio
import random
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.rooms.made_event import made_event

if TYPE_CHECKING:
    from tdbwatch.daemon.config import Config, SinkConfig
    from tdbwatch.daemon.hosting.hosts import Host
    from tdbwatch.daemon.plugins import Registry
    from tdbwatch.plugin import Event

_DESCRIPTION: Final = """\
Deliver one test event through a sink, and show what it answers. The event
really goes there; the daemon and its spool know nothing of it."""
_EXAMPLE: Final = """\
example:
  tdbwatch send oncall '{"host": "db1"}' --config prod.yaml --event disk-full

exit codes: 0 delivered, 1 not delivered, 64 wrong usage, 78 bad configuration"""
NOT_DELIVERED: Final = 1


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "send", help="try a sink with one event", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.add_argument("sink", metavar="SINK", help="the sink")
    parser.add_argument("args", nargs="*", metavar="ARG", help="the event's arguments, as for emit")
    parser.add_argument("--config", "-c", type=Path, required=True, metavar="FILE", help="the configuration")
    parser.add_argument("--room", metavar="ROOM", help="the room that it seems to come from (the first one)")
    parser.add_argument("--event", metavar="EVENT", default="tdbwatch-test", help="its name (tdbwatch-test)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Deliver the event; returns the exit code."""
    from tdbwatch.cli.daemon.loading import load_or_explain
    from tdbwatch.daemon import logs
    from tdbwatch.daemon.assembly import make_router
    from tdbwatch.daemon.config.problems import suggestion

    logs.configure("error", "console", sys.stderr)
    loaded = load_or_explain(options.config)
    if loaded is None:
        return exits.BAD_CONFIG
    config, registry = loaded
    sink = next((one for one in config.sinks if one.name == options.sink), None)
    if sink is None:
        names = [one.name for one in config.sinks]
        hint = suggestion(options.sink, names, "the sinks are")
        raise CommandError(exits.USAGE, f"there is no sink {options.sink!r}; {hint}")
    if sink.settings.type == "log":  # what it writes is what one wants to see
        logs.change(config.logging.level, "console")
    room = config.rooms[0].record_name if options.room is None else options.room
    event = made_event(room, options.event, options.args, config)
    with_fields = make_router(config).matcher(sink.name).with_fields(event) or event
    told = asyncio.run(_send(config, registry, sink, with_fields))
    say(f"{sink.name}: {told or 'delivered'}")
    return NOT_DELIVERED if told else exits.OK


async def _send(config: "Config", registry: "Registry", sink: "SinkConfig", event: "Event") -> str:
    """Why it was not delivered; empty: it was. Connects to ThingsDB only where the sink asks it something."""
    from tdbwatch.client import Observer
    from tdbwatch.clock import SYSTEM_CLOCK
    from tdbwatch.daemon.assembly import make_client, make_host
    from tdbwatch.daemon.hosting.contexts import Contexts
    from tdbwatch.daemon.hosting.echoes import Echoes
    from tdbwatch.daemon.hosting.reacting import Reacting
    from tdbwatch.daemon.security.login import Login

    client = make_client(config.thingsdb, Observer(), SYSTEM_CLOCK, random.Random())
    login = Login(config.thingsdb.auth, config.login_file)
    connect = partial(client.connect_pool, config.thingsdb.nodes, login)
    reacting = Reacting(client, Echoes(SYSTEM_CLOCK), connect)
    try:
        host = make_host(sink, registry, Contexts(SYSTEM_CLOCK, registry.metrics, reacting))
        return await _deliver(host, event, sink.timeout)
    finally:
        await client.close_and_wait()


async def _deliver(host: "Host", event: "Event", timeout: float) -> str:
    """Why it was not delivered; empty: it was."""
    from tdbwatch.daemon.couriers.answer import judge
    from tdbwatch.daemon.hosting.faults import describe
    from tdbwatch.plugin import Delivered, Rejected
    from tdbwatch.redaction import presentable

    try:
        await host.open()
        outcomes = judge(await host.deliver([event]), 1)
    except Exception as error:  # noqa: BLE001 - a sink may raise anything
        return f"not delivered, and would be tried again: {describe(error)}"
    finally:
        await host.close(timeout)
    outcome = None if outcomes is None else outcomes[0]
    if outcome is None or isinstance(outcome, Delivered):
        return ""
    what = "rejected for good" if isinstance(outcome, Rejected) else "not delivered, and would be tried again"
    return f"{what}: {presentable(outcome.reason)}"
