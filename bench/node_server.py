"""An embedded node that emits by the clock: the whole way of an emit, through the node, over a real socket.

Run as `python -m bench.node_server`; it prints its port and takes the order `pace` as `bench.server` does.
"""

import asyncio
import sys
import time

from bench.stream import EVENT, LAST, ROOM, ROOM_ID
from tdbwatch.node import Cluster


async def _pace(cluster: Cluster, rate: int, seconds: float, start_ns: int) -> None:
    step = 1_000_000_000 // rate
    for number in range(int(rate * seconds)):
        due = start_ns + number * step
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        details = {"unit": "percent", "trend": "rising"}
        args = (number, "/var/lib/thingsdb", 91.52, details)
        cluster.emit("//stuff", ROOM, EVENT, time.monotonic_ns(), *args)
    cluster.emit("//stuff", ROOM, LAST)


async def main() -> None:
    loop = asyncio.get_running_loop()
    async with Cluster(1) as cluster:
        cluster.add_room("//stuff", ROOM, room_id=ROOM_ID)
        print(cluster.nodes[0].address.rsplit(":", 1)[1], flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _, rate, seconds, start_ns = line.split()
            await _pace(cluster, int(rate), float(seconds), int(start_ns))


if __name__ == "__main__":
    asyncio.run(main())
