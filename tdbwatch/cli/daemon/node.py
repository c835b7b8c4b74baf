"""`tdbwatch node`: the embedded node by itself, for plugin authors without a ThingsDB at hand."""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
from typing import Any

from tdbwatch.cli import exits
from tdbwatch.cli.output import finish, say

_EXAMPLE = """example:
  tdbwatch node --room alerts --room //ops/deploys --emit-every 1s

Point a configuration or any ThingsDB client at 127.0.0.1:9200, user admin,
password pass. It is no database: it keeps nothing, and answers to queries have
to be registered in a program of your own (docs/connector.md)."""

_PASSWORD = "pass"  # noqa: S105 - written in the docs for all to try
_OPEN = """\
tdbwatch node: warning: other hosts can reach this address, and everybody knows the password "pass"
    give --password, or listen on 127.0.0.1"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "node",
        help="run the embedded node",
        description="Run a node that speaks ThingsDB's protocol: rooms, joins and emits, no database.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=9200, help="port of the first node (9200); 0: any")
    parser.add_argument(
        "--nodes", type=_count, default=1, metavar="N", help="how many nodes, one port each (1)"
    )
    parser.add_argument(
        "--room",
        type=_room,
        action="append",
        default=[],
        help="alerts, or //ops/deploys; repeatable (alerts)",
    )
    parser.add_argument("--user", default="admin", help="a user who may log in (admin)")
    parser.add_argument("--password", default=_PASSWORD, metavar="PASS", help="that user's password (pass)")
    parser.add_argument("--token", help="a token that may log in")
    parser.add_argument(
        "--emit-every", type=_pause, metavar="TIME", help="emit made-up events, for instance every 1s"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code."""
    try:
        asyncio.run(_serve(options))
    except (OSError, OverflowError) as error:  # OverflowError: the last node's port is beyond the last one
        print(f"tdbwatch node: cannot listen: {error}", file=sys.stderr)
        return exits.UNAVAILABLE
    return exits.OK


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports are numbers from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def _room(text: str) -> tuple[str, str]:
    """Scope and name."""
    from tdbwatch.wire.names import is_room_name
    from tdbwatch.wire.scopes import collection_of

    scope, _, name = text.rpartition("/")
    scope = scope or "//stuff"
    if collection_of(scope) is None or not is_room_name(name):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a room; write for instance alerts, or //ops/deploys"
        )
    return scope, name


def _pause(text: str) -> float:
    from tdbwatch.plugin.options import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not seconds:
        raise argparse.ArgumentTypeError("the time between events must be longer than none")
    return seconds


async def _serve(options: argparse.Namespace) -> None:
    from tdbwatch.daemon.config.doubts.exposure import is_loopback
    from tdbwatch.node import Cluster

    ports = [options.port + i if options.port else 0 for i in range(options.nodes)]
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if options.password == _PASSWORD and not is_loopback(options.host):
        print(_OPEN, file=sys.stderr)
    async with Cluster(options.nodes, host=options.host, ports=ports) as cluster:
        cluster.add_user(options.user, options.password)
        if options.token:
            cluster.add_token(options.token)
        rooms = options.room or [_room("alerts")]
        for scope, name in rooms:
            cluster.add_room(scope, name)
        addresses = ", ".join(node.address for node in cluster.nodes)
        say(f"listening on {addresses}; rooms: {', '.join('/'.join(r) for r in rooms)}; Ctrl-C ends it")
        finish()
        emitter = asyncio.create_task(_emit(cluster, rooms, options.emit_every), name="tdbwatch-node-emitter")
        await stop.wait()
        emitter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await emitter


async def _emit(cluster: Any, rooms: list[tuple[str, str]], every: float | None) -> None:
    from tdbwatch.cli.daemon.happenings import happening

    rng = random.Random()
    while every is not None:
        scope, name = rng.choice(rooms)
        event, args = happening(rng)
        cluster.emit(scope, name, event, *args, node=rng.randrange(len(cluster.nodes)))
        await asyncio.sleep(every)
    await asyncio.Event().wait()
