"""The example programs run as they are."""

import asyncio
import os
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
CHAT_CODE = """//ti
    // Make the room if it is not there yet.
    .has('chat') || .chat = room();

    // Code for a room must return the room's id.
    .chat.id();
"""


async def run(node, example, *args, said=b""):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLES / example),
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "THINGSDB_NODE": node.host, "THINGSDB_PORT": str(node.port)},
    )
    out, err = await asyncio.wait_for(process.communicate(said), 30)
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


async def test_hello_world_prints_what_the_node_answers(cluster):
    cluster.on_query('"Hello World!";', "Hello World!")
    assert await run(cluster.nodes[0], "hello_world.py") == "Hello World!\n"


async def test_the_chat_says_and_hears_lines(cluster, connect, Ears):
    cluster.on_query(CHAT_CODE, cluster.add_room("//stuff"))
    listener = Ears(2)
    await listener.join(await connect(cluster))
    out = await run(cluster.nodes[0], "chat_room.py", "alice", said=b"hello\nis anybody there?\n")
    assert out.splitlines() == [
        "welcome to the chat",
        "joined room 2",
        "alice: hello",
        "alice: is anybody there?",
    ]
    assert listener.heard == [("msg", "alice", "hello"), ("msg", "alice", "is anybody there?")]
