"""A client that notes how old each event is when its handler gets it."""

import asyncio

from bench.contestants import join, timing_room
from bench.measure import options, percentile, ready, report


async def main() -> None:
    asked, latencies = options(), list[float]()
    room = timing_room(asked["name"], latencies)
    client = await join(asked["name"], room, asked["port"])
    ready()
    await room.ended
    report(p50=percentile(latencies, 0.5), p99=percentile(latencies, 0.99), count=len(latencies))
    client.close()


if __name__ == "__main__":
    asyncio.run(main())
