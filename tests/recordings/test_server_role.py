"""The recordings in the server's role: an embedded cluster answers the same over real sockets.

Only what queries and procedures of a real database compute is registered from the recording; the order
of pushes and answers, joins, emits, refusals and errors of requests are the node's own.
"""

import asyncio
import inspect
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster
from tdbwatch.testing.clock import ManualClock
from tdbwatch.wire import FrameDecoder, Kind, decode, encode_frame

DEADLINE = 5.0
TRANSPORTS = ["tcp", "unix", "websocket"]


class SocketPeer:
    """A client that sends any bytes and reads frame by frame."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self):
        """The next frame; b"" when the node closed the connection."""
        try:
            header = await self.reader.readexactly(8)
            return header + await self.reader.readexactly(int.from_bytes(header[:4], "little"))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return b""

    async def close(self):
        self.writer.close()


class WebSocketPeer:
    """As `SocketPeer`, one frame per binary message."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, data):
        await self.socket.send(data)

    async def receive(self):
        try:
            message = await self.socket.recv(decode=False)
        except ConnectionClosed:
            return b""
        (frame,) = FrameDecoder().feed(message)
        assert len(message) == 8 + len(frame.body), "one message, one frame"
        return message

    async def close(self):
        await self.socket.close()


async def open_peer(node, transport):
    if transport == "websocket":
        return WebSocketPeer(await connect(node.websocket_url, compression=None))
    if transport == "unix":
        return SocketPeer(*await asyncio.open_unix_connection(node.unix_path))
    return SocketPeer(*await asyncio.open_connection(node.host, node.port))


class Stage:
    """A cluster prepared for one scenario: which node each connection is on, what happens on its own."""

    def __init__(self, cluster, clock, recording):
        self.cluster, self.clock, self.recording = cluster, clock, recording
        self.nodes = {"a": 0, "b": 1}
        self.events = {}
        """What happens before this push is heard: (kind, value) as text -> a function."""
        self.tasks = []

    def before(self, kind, value, action):
        self.events[(kind, str(value))] = action

    def register_recorded_queries(self):
        """What a real database computed, as answers of the embedded one."""
        answers = {line.id: line for line in self.recording if line.who == "s2c"}
        for line in self.recording:
            if line.who == "c2s" and line.kind == Kind.QUERY and line.value[0] == "//stuff":
                self.cluster.on_query(line.value[1], self.recorded(answers[line.id]))

    @staticmethod
    def recorded(answer):
        def give(scope, code, variables):
            if answer.kind == Kind.ERROR:
                raise errors.from_wire(answer.value)
            return answer.value

        return give

    def register_procedures(self):
        def add_one(x, *_):
            if not isinstance(x, int):
                raise errors.TypeError("`+` not supported between `str` and `int`")
            return x + 1

        def boom(message):
            raise errors.CustomError(message)

        self.cluster.on_procedure("add_one", add_one)
        self.cluster.on_procedure("boom", boom)


def rooms(stage):
    cluster = stage.cluster
    cluster.add_room("//stuff", "alerts", room_id=3)
    assert cluster.add_room("//stuff") == 4

    def emits(scope, code, variables):
        cluster.emit("//stuff", "alerts", "from-query", 1, [2, 3], {"a": {}}, node=1)
        cluster.emit("//stuff", 4, "no-args", node=1)

    cluster.on_query(next(line.value[1] for line in stage.recording if line.kind == Kind.QUERY), emits)
    stage.before(
        Kind.ROOM_DELETE,
        {"scope": "@collection:stuff", "id": 4},
        lambda: cluster.delete_room("//stuff", 4),
    )


def node_shutdown(stage):
    cluster = stage.cluster
    cluster.add_room("//stuff", "alerts", room_id=3)
    stage.nodes = {"a": 2, "b": 0}
    stage.before(
        Kind.NODE_STATUS,
        {"id": 2, "status": "SHUTTING_DOWN"},
        lambda: stage.tasks.append(asyncio.create_task(cluster.nodes[2].shutdown())),
    )
    stage.before(Kind.NODE_STATUS, {"id": 2, "status": "OFFLINE"}, lambda: stage.clock.advance(6.0))


def same_id(stage):
    cluster = stage.cluster
    for scope in ("//stuff", "//other"):
        cluster.add_room(scope, room_id=3)
    stage.before(Kind.NODE_STATUS, {"id": 0, "status": "AWAY_SOON"}, cluster.nodes[0].away_soon)


def room_recreated(stage):
    def make_again():
        stage.cluster.delete_room("//stuff", "tmp")
        stage.cluster.add_room("//stuff", "tmp")

    stage.cluster.add_room("//stuff", "tmp", room_id=7)
    stage.before(Kind.ROOM_DELETE, {"scope": "@collection:stuff", "id": 7}, make_again)


def collection_renamed(stage):
    cluster = stage.cluster
    cluster.add_room("//other", "alerts", room_id=2)
    cluster.on_query(
        'rename_collection("other", "renamed");', lambda *_: cluster.rename_collection("other", "renamed")
    )
    cluster.on_query('del_collection("renamed");', lambda *_: cluster.delete_collection("renamed"))


def forbidden(stage):
    cluster = stage.cluster
    cluster.add_room("//stuff", "alerts", room_id=3)
    cluster.add_collection("other")
    cluster.add_user("reader", "secret", join=False, change=False, scopes=["//stuff"])
    cluster.on_query(".t;", {"#": 5, "x": 1})
    cluster.on_query(".t = 1;", 1, change=True)
    cluster.on_query("1;", 1)


def computed(stage):
    stage.register_recorded_queries()
    stage.register_procedures()


def token_auth(stage):
    stage.cluster.add_token(stage.recording[0].value)
    stage.register_recorded_queries()


def warning(stage):
    code = next(line.value[1] for line in stage.recording if line.kind == Kind.QUERY)
    stage.cluster.on_query(code, 1, warning="Test.., one, two")


def nothing(stage):
    """The node as it is."""


STAGES = {
    "bad-frames": nothing,
    "collection-renamed": collection_renamed,
    "errors": computed,
    "forbidden": forbidden,
    "handshake": nothing,
    "node-shutdown": node_shutdown,
    "room-recreated": room_recreated,
    "rooms": rooms,
    "run": computed,
    "same-id-in-two-collections": same_id,
    "token-auth": token_auth,
    "unix-socket": computed,
    "unknown-type": nothing,
    "values": computed,
    "warning": warning,
}


def said(frame):
    """A frame as (id, kind, value), or () when the connection was closed."""
    if not frame:
        return ()
    return int.from_bytes(frame[4:6], "little"), frame[6], decode(frame[8:]) if frame[8:] else None


async def replay(stage, peers):
    for line in stage.recording:
        if line.who == "c2s":
            await peers[line.conn].send(line.frame)
            continue
        if (action := stage.events.get((line.kind, str(line.value)))) is not None:
            happening = action()
            if inspect.isawaitable(happening):
                await happening
        heard = said(await peers[line.conn].receive())
        assert heard == (line.said if line.who == "s2c" else ())


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_embedded_node_answers_as_the_real_one_did(name, recording, transport, tmp_path):
    clock = ManualClock()
    cluster = Cluster(3, clock=clock, unix_path=tmp_path / "{id}.sock", websocket=True)
    stage = Stage(cluster, clock, recording)
    STAGES[name](stage)
    async with asyncio.timeout(DEADLINE), cluster, AsyncExitStack() as stack:
        peers = {}
        for conn in {line.conn for line in recording}:
            peers[conn] = await open_peer(cluster.nodes[stage.nodes[conn]], transport)
            stack.push_async_callback(peers[conn].close)
        await replay(stage, peers)
        closed = {line.conn for line in recording if line.who == "closed-by-server"}
        for conn in peers.keys() - closed:  # and nothing more was said
            await peers[conn].send(encode_frame(999, Kind.PING))
            assert said(await peers[conn].receive()) == (999, Kind.PONG, None)
        await asyncio.gather(*stage.tasks)
