"""A client that hears nothing: how often it wakes up."""

import asyncio

from bench.contestants import empty_room, join
from bench.measure import Watch, options, ready, report, waits

_SETTLE = 1.0


async def main() -> None:
    asked = options()
    client = await join(asked["name"], empty_room(asked["name"], Watch()), asked["port"])
    ready()
    await asyncio.sleep(_SETTLE)
    before, watch = waits(), Watch()
    watch.start()
    await asyncio.sleep(asked["seconds"])
    watch.stop()
    report(waits=waits() - before, cpu=watch.cpu)
    client.close()


if __name__ == "__main__":
    asyncio.run(main())
