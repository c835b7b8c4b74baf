"""A client that is sent a blast: how long it takes, what it costs, what memory it leaves behind."""

import asyncio

from bench.contestants import empty_room, join
from bench.measure import Watch, options, ready, report, rss


async def main() -> None:
    asked, watch = options(), Watch()
    room = empty_room(asked["name"], watch)
    client = await join(asked["name"], room, asked["port"])
    before = rss()
    ready()
    await room.ended
    report(wall=watch.wall, cpu=watch.cpu, rss_before=before, rss_after=rss())
    client.close()


if __name__ == "__main__":
    asyncio.run(main())
