"""Connect, log in, ask something.

Against a node on this machine: `python examples/hello_world.py`; another one is named by THINGSDB_NODE.
"""

import asyncio
import os

from tdbwatch.client import Client


async def hello_world() -> None:
    client = Client()
    await client.connect(
        os.environ.get("THINGSDB_NODE", "localhost"), int(os.environ.get("THINGSDB_PORT", "9200"))
    )
    try:
        await client.authenticate("admin", "pass")  # or a token, as one string
        print(await client.query('"Hello World!";'))
    finally:
        await client.close_and_wait()


if __name__ == "__main__":
    asyncio.run(hello_world())
