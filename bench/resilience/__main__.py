"""Measure what a fault of a real node costs."""

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.resilience.emitting import Emitting
from bench.resilience.faults import FAULTS
from bench.resilience.verdict import judge
from bench.resilience.watches import ClientWatch, DaemonWatch, Watch, in_use
from tdbwatch.client import Client, Heartbeat
from tests.real.cluster import ask, knows_room
from tests.real.target import HOW_TO, Target, open_target
from tests.real.waiting import ClusterError, until

QUIET: Final = 30.0
"""Seconds that late events may take after the last emit."""
FAULT_LIMIT: Final = 900.0
"""Seconds that a fault, restarts included, may take."""
EXAMPLE: Final = """example:
  TDBWATCH_THINGSDB_BIN=/usr/local/bin/thingsdb \\
    python -m bench.resilience --connections 2 --fault sigkill --seconds 120 --runs 3

The environment is that of the tests against real nodes: TDBWATCH_THINGSDB_BIN, or, without a fault,
TDBWATCH_TEST_NODES and TDBWATCH_TEST_AUTH."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.resilience",
        description="Emit at a steady rate from one node of a real cluster, watch from others, hurt a node\n"
        "in use in the middle; count what was lost and doubled.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--through", choices=["client", "daemon"], default="daemon", help="(default: daemon)")
    parser.add_argument("--connections", type=int, default=2, metavar="N", help="of the watch (default: 2)")
    parser.add_argument("--fault", choices=[*FAULTS, "none"], default="none", help="(default: none)")
    parser.add_argument(
        "--seconds", type=float, default=120.0, metavar="S", help="emit so long (default: 120)"
    )
    parser.add_argument(
        "--rate", type=float, default=500.0, metavar="R", help="emits a second (default: 500)"
    )
    parser.add_argument("--identical", action="store_true", help="one in five emits has the same payload")
    parser.add_argument("--heartbeat", type=_heartbeat, default=Heartbeat(), metavar="I,T",
                        help="interval and timeout in seconds (default: 5,15)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=1, metavar="K", help="measure so often (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="tdbwatch-") as folder:
        (Path(folder) / "nodes").mkdir()
        with open_target(Path(folder) / "nodes") as target:
            if target is None or (target.cluster is None and options.fault != "none"):
                print(HOW_TO if target is None else "faults need TDBWATCH_THINGSDB_BIN", file=sys.stderr)
                return 64
            for run in range(options.runs):
                place = Path(folder) / f"run{run}"
                place.mkdir()
                show(asyncio.run(measure(options, target, place)), as_json=options.json)
    return 0


async def measure(options: argparse.Namespace, target: Target, folder: Path) -> dict[str, Any]:
    """One run, from a new collection to the verdict."""
    if target.cluster is not None:
        await target.cluster.settled()
    scope, room_id = await make_room(target)
    watch: ClientWatch | DaemonWatch = ClientWatch() if options.through == "client" else DaemonWatch(folder)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(watch.stop)
        await watch.start(target, scope, "soak", options.connections, options.heartbeat)
        wanted = min(options.connections, len(target.nodes))
        await until(lambda: len(in_use(watch)) >= wanted, f"{wanted} connections", 60)
        used = in_use(watch)
        order = used + [node for node in target.nodes if node not in used]
        emitter = await stack.enter_async_context(Client())
        pool = order if options.fault == "rolling" else order[-1:]
        async with asyncio.timeout(60):
            await emitter.connect_pool(pool, *target.auth)
        emitting = Emitting(emitter, scope, room_id, options.rate, identical=options.identical)
        fault_at = await emit_and_hurt(options, target, emitting, order)
        await quiet(watch, emitting)
        verdict = judge(emitting.sent, watch.heard(), emitting.unsure, watch.gaps(), fault_at)
        return {
            "through": options.through,
            "connections": options.connections,
            "fault": options.fault,
            "identical": options.identical,
            **asdict(verdict),
            "refused": emitting.refused,
            "unsure": len(emitting.unsure),
            "gaps": [asdict(gap) for gap in watch.gaps()],
            "connected": [(at - (fault_at or at), what, node) for at, what, node in watch.connections()],
        }


async def make_room(target: Target) -> tuple[str, int]:
    """A new collection with the room `soak`, known to every node."""
    name = f"soak_{secrets.token_hex(4)}"
    scope = f"//{name}"
    await ask(target.nodes[0], target.auth, "new_collection(name);", "@t", timeout=30, name=name)
    code = ".soak = room(); .soak.set_name('soak'); .soak.id();"
    room_id = await ask(target.nodes[0], target.auth, code, scope, timeout=30)

    for node in target.nodes:
        await until(partial(knows_room, node, target.auth, scope, room_id), f"the room at {node}", 60)
    return scope, room_id


async def emit_and_hurt(
    options: argparse.Namespace, target: Target, emitting: Emitting, order: Sequence[str]
) -> float | None:
    """Emit for the time that was asked for, or until the fault is over; returns when it began."""
    fault_at = None
    async with asyncio.TaskGroup() as group:
        group.create_task(emitting.run(), name="emitting")
        try:
            await asyncio.sleep(options.seconds / 2)
            rest = time.monotonic() + options.seconds / 2
            if options.fault != "none":
                assert target.cluster is not None
                fault_at = time.time()
                nodes = [target.cluster.by_address(address) for address in order]
                async with asyncio.timeout(FAULT_LIMIT):
                    await FAULTS[options.fault](target.cluster, nodes, emitting.client)
            await asyncio.sleep(max(0.0, rest - time.monotonic()))
        finally:
            emitting.stop()
    return fault_at


async def quiet(watch: Watch, emitting: Emitting) -> None:
    """Wait until everything is there, or until it is clear that the rest is lost."""
    with contextlib.suppress(ClusterError):
        await until(lambda: len(watch.heard()) >= len(emitting.sent), "the last events", QUIET / 2)
    with contextlib.suppress(ClusterError):  # twins may still come
        await until(lambda: len(watch.heard()) > len(emitting.sent), "more", 2.0)


def show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result), flush=True)
        return
    lists = ("gaps", "connected")
    print("  ".join(f"{key}={value}" for key, value in result.items() if key not in lists))
    for gap in result["gaps"]:
        known = gap["since"] is not None and gap["until"] is not None
        length = f"{gap['until'] - gap['since']:.3f} s" if known else "of unknown length"
        print(f"  gap {length}: {gap['reason']}")
    for after, what, node in result["connected"]:
        print(f"  {after:+8.3f} s {what} {node}")
    sys.stdout.flush()


def _heartbeat(text: str) -> Heartbeat:
    interval, _, timeout = text.partition(",")
    return Heartbeat(float(interval), float(timeout))


if __name__ == "__main__":
    sys.exit(main())
