"""A chat in a room: what one client says, all who joined hear.

`python examples/chat_room.py alice` says each line that is typed; Ctrl-D ends it. The room is made on the
way, in the collection `stuff`. A node on this machine is used, or the one that THINGSDB_NODE names.
"""

import asyncio
import os
import sys

from tdbwatch.client import Client
from tdbwatch.room import Room, event

CHAT = """//ti
    // Make the room if it is not there yet.
    .has('chat') || .chat = room();

    // Code for a room must return the room's id.
    .chat.id();
"""


class Chat(Room):
    def on_init(self) -> None:
        print("welcome to the chat")

    async def on_join(self) -> None:
        print(f"joined room {self.id}")  # also after each reconnect

    @event("msg")
    def on_msg(self, who: str, text: str) -> None:
        print(f"{who}: {text}")


async def main(me: str) -> None:
    async with Client() as client:
        node, port = (
            os.environ.get("THINGSDB_NODE", "localhost"),
            int(os.environ.get("THINGSDB_PORT", "9200")),
        )
        await client.connect_pool([(node, port)], "admin", "pass")
        client.set_default_scope("//stuff")
        chat = Chat(CHAT)
        await chat.join(client)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await chat.emit("msg", me, line.strip())
        await chat.leave()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "somebody"))
