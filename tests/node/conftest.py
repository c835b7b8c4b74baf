"""A small client for the tests of the embedded node: one connection, requests and what is heard."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock
from tdbwatch.wire import ClientSession, Kind, Response

TLS = Path(__file__).parent / "tls"


class Peer:
    """A connection whose pushes and answers can be looked at in the order in which they came."""

    def __init__(self, read, write, close):
        self._read, self._write, self.close = read, write, close
        self.session = ClientSession()
        self.heard = []
        self.eof = False

    def send(self, kind, body=None):
        request_id, data = self.session.request(kind, body)
        self._write(data)
        return request_id

    def send_raw(self, data):
        self._write(data)

    async def more(self):
        data = await self._read()
        self.eof = not data
        self.heard += self.session.receive(data)

    async def until(self, wanted):
        """Everything heard up to the first that `wanted` accepts, which comes last; all of it if none."""
        async with asyncio.timeout(20):
            while not self.eof and not any(map(wanted, self.heard)):
                await self.more()
        count = next((i for i, each in enumerate(self.heard, 1) if wanted(each)), len(self.heard))
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken

    async def ask(self, kind, body=None):
        """Pushes until the answer, then the answer itself."""
        request_id = self.send(kind, body)
        return await self.until(lambda each: isinstance(each, Response) and each.id == request_id)

    async def auth(self, user="admin", password="pass"):
        (answer,) = await self.ask(Kind.AUTH, [user, password])
        assert answer.kind == Kind.OK
        return self

    async def pending(self):
        """All pushes that the node has sent so far."""
        *pushes, pong = await self.ask(Kind.PING)
        assert pong.kind == Kind.PONG
        return pushes

    async def closed(self):
        """All that is heard until the node closes."""
        return await self.until(lambda _: False)


async def socket_peer(opening, stack):
    reader, writer = await opening

    async def read():
        try:
            return await reader.read(65536)
        except ConnectionError:
            return b""

    async def close():
        writer.close()

    stack.push_async_callback(close)
    return Peer(read, writer.write, close)


async def websocket_peer(url, stack, **options):
    socket = await stack.enter_async_context(connect(url, compression=None, **options))
    outgoing = asyncio.Queue(100)

    async def read():
        while not outgoing.empty():
            await socket.send(outgoing.get_nowait())
        try:
            return await socket.recv(decode=False)
        except ConnectionClosed:
            return b""

    return Peer(read, outgoing.put_nowait, socket.close)


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def cluster(clock):
    """Two nodes that share the room 1 of //stuff, `alerts`."""
    async with Cluster(2, clock=clock) as cluster:
        cluster.add_room("//stuff", "alerts")
        yield cluster


@pytest.fixture
def dial(stack):
    """Connect to a node, over TCP unless something else is said."""

    async def dial(node, transport="tcp", **options):
        if transport == "websocket":
            return await websocket_peer(node.websocket_url, stack, **options)
        if transport == "unix":
            return await socket_peer(asyncio.open_unix_connection(node.unix_path), stack)
        return await socket_peer(asyncio.open_connection(node.host, node.port, **options), stack)

    return dial


@pytest.fixture
def join(dial):
    """Connect, authenticate, join `alerts`."""

    async def join(node):
        peer = await (await dial(node)).auth()
        await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
        await peer.pending()
        return peer

    return join


@pytest.fixture(scope="session")
def certificate():
    """(for the server, for the client): contexts with a certificate of 127.0.0.1 that only tests trust.

    Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost`.
    """
    cert, key = TLS / "cert.pem", TLS / "key.pem"
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))
