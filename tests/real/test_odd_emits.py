"""What a real node lets pass and no decoder takes; and what it refuses, as the embedded node does."""

import asyncio

import msgpack
import pytest

from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.exceptions import BadDataError, LookupError, TypeError, ValueError
from tdbwatch.node import Cluster
from tdbwatch.wire import Kind, encode_frame
from tdbwatch.wire.codec import decode_leniently
from tdbwatch.wire.salvage import readable

from .waiting import until

pytestmark = pytest.mark.real

DEEP = b"\x91" * 3_000 + b"\xc0"
NAMES = ("a" * 255, "a" * 256, "é", "1a", "a-b", "")


class Listener:
    """Keeps what a subscription hears, as the daemon does: undecoded, and no deeper than it takes."""

    def __init__(self):
        self.heard = []

    def deliver(self, emit):
        self.heard.append((emit.event, decode_leniently(bytes(readable(emit.args)))))

    def room_joined(self, room_id): ...

    def room_heard(self): ...

    def room_unheard(self, reason, since): ...

    def room_unjoinable(self, error): ...

    def room_deleted(self): ...


async def emit_raw(address, auth, scope, room, rest):
    """Emit what no client of ours would encode."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    login = list(auth) if len(auth) == 2 else auth[0]
    packed = [msgpack.packb(part) for part in (scope, room)]
    body = bytes([0x90 + 2 + len(rest)]) + b"".join([*packed, *rest])
    for number, (kind, data) in enumerate(((Kind.AUTH, msgpack.packb(login)), (Kind.EMIT, body))):
        writer.write(encode_frame(number, kind, data))
        header = await asyncio.wait_for(reader.readexactly(8), 10)
        await reader.readexactly(int.from_bytes(header[:4], "little"))
        assert header[6] == Kind.OK
    writer.close()


async def test_emits_that_do_not_decode_are_kept_as_far_as_can_be(connect, new_room, target):
    client = await connect(raw_events=True)
    room, listener = await new_room(client), Listener()
    await client.subscribe(Subscription(room.name, room.scope, listener))
    for rest in (
        (b"\xa3a\xffb", b"\x05"),
        (b"\xa4deep", DEEP),
        (b"\xa4text", b"\xa2\xff\xfe"),
        (b"\xa3end",),
    ):
        await emit_raw(client.connection_info(), target.auth, room.scope, room.name, rest)
    await until(lambda: len(listener.heard) == 4, "the events")
    assert listener.heard[:2] == [(r"a\xffb", [5]), ("deep", [b"\x91" + DEEP])]
    assert listener.heard[2:] == [("text", [r"\xff\xfe"]), ("end", [])]


@pytest.mark.parametrize("name", NAMES)
async def test_names_that_no_room_can_have_are_refused_by_both(connect, scopes, name):
    client = await connect()
    async with Cluster() as cluster:
        cluster.add_room(scopes[0], "room")
        async with type(client)() as embedded:
            await embedded.connect_pool([cluster.nodes[0].address], "admin", "pass")
            said = [await refusal(each, scopes[0], name) for each in (client, embedded)]
    assert said[0] == said[1] is (LookupError if name == NAMES[0] else ValueError)


@pytest.mark.parametrize(("room", "args"), [(-1, ()), ("room", ({1: 2},)), ("room", ([{"a": {True: 1}}],))])
async def test_emits_that_a_real_node_refuses_are_refused_by_both(connect, new_room, scopes, room, args):
    client = await connect()
    made = await new_room(client)
    async with Cluster() as cluster:
        cluster.add_room(scopes[0], made.name)
        async with type(client)() as embedded:
            await embedded.connect_pool([cluster.nodes[0].address], "admin", "pass")
            target = made.name if room == "room" else room
            said = [await refusal(each, scopes[0], target, *args) for each in (client, embedded)]
    assert said[0] == said[1] is (BadDataError if room == -1 else TypeError)


async def refusal(client, scope, room, *args):
    """The class of what an emit is refused with."""
    try:
        await client.emit(room, "e", *args, scope=scope)
    except Exception as error:
        return type(error)
    return None
