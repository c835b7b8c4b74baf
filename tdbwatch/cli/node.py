"""`tdbwatch node`: the embedded node by itself, for plugin authors without a ThingsDB at hand."""

import argparse
import asyncio
import contextlib
import random
import signal
from typing import Any

from tdbwatch.cli import exits

_EXAMPLE = """example:
  tdbwatch node --room alerts --room //ops/deploys --emit-every 1s

Then point a configuration at 127.0.0.1:9200, user admin, password pass; or emit from another terminal with
any ThingsDB client. It keeps nothing and runs no queries: it is no database."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "node",
        help="run the embedded node",
        description="Run a node that speaks ThingsDB's protocol: rooms, joins and emits, no database.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=9200, help="port of the first node (9200); 0: any")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="how many nodes, one port each (1)")
    parser.add_argument(
        "--room", action="append", default=[], metavar="ROOM", help="alerts, or //ops/deploys; repeatable"
    )
    parser.add_argument("--user", default="admin", help="a user who may log in (admin)")
    parser.add_argument("--password", default="pass", help="that user's password (pass)")
    parser.add_argument("--token", help="a token that may log in")
    parser.add_argument("--emit-every", metavar="DURATION", help="emit made-up events, such as every 1s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code."""
    from tdbwatch.plugin.options import parse_duration

    try:
        every = parse_duration(options.emit_every) if options.emit_every else None
    except ValueError as error:
        print(f"tdbwatch node: --emit-every: {error}")
        return exits.USAGE
    try:
        asyncio.run(_serve(options, every))
    except OSError as error:
        print(f"tdbwatch node: cannot listen: {error}")
        return exits.UNAVAILABLE
    return exits.OK


async def _serve(options: argparse.Namespace, every: float | None) -> None:
    from tdbwatch.node import Cluster

    ports = [options.port + i if options.port else 0 for i in range(options.nodes)]
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Cluster(options.nodes, host=options.host, ports=ports) as cluster:
        cluster.add_user(options.user, options.password)
        if options.token:
            cluster.add_token(options.token)
        rooms = [_add_room(cluster, room) for room in options.room or ["alerts"]]
        addresses = ", ".join(node.address for node in cluster.nodes)
        print(
            f"listening on {addresses}; rooms: {', '.join('/'.join(r) for r in rooms)}; Ctrl-C ends it",
            flush=True,
        )
        emitter = asyncio.create_task(_emit(cluster, rooms, every), name="tdbwatch-node-emitter")
        await stop.wait()
        emitter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await emitter


def _add_room(cluster: Any, room: str) -> tuple[str, str]:
    scope, _, name = room.rpartition("/")
    scope = scope or "//stuff"
    cluster.add_room(scope, name)
    return scope, name


async def _emit(cluster: Any, rooms: list[tuple[str, str]], every: float | None) -> None:
    from tdbwatch.cli.happenings import happening

    rng = random.Random()
    while every is not None:
        scope, name = rng.choice(rooms)
        event, args = happening(rng)
        cluster.emit(scope, name, event, *args, node=rng.randrange(len(cluster.nodes)))
        await asyncio.sleep(every)
    await asyncio.Event().wait()
