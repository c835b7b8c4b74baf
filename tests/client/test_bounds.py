"""Whatever a node sends, or does not read, takes a bounded amount of memory and time, on every transport."""

import asyncio

import pytest
from websockets.server import ServerProtocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.links.heartbeat import PROGRESS, Heartbeat
from tdbwatch.client.links.link import Link
from tdbwatch.client.transports.websocket import MAX_PONGS, WebSocketWire
from tdbwatch.exceptions import ConnectionLostError, ProtocolError
from tdbwatch.testing import settle
from tdbwatch.wire import MAX_BEFORE_LOGIN, Kind, encode_frame, encode_push

STATUS = encode_push(Kind.NODE_STATUS, {"id": 0, "status": "READY"})


class Transport(asyncio.Transport):
    """A socket of which nobody reads the other end."""

    def __init__(self):
        super().__init__()
        self.written = bytearray()
        self.aborted = False

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return len(self.written)

    def is_closing(self):
        return self.aborted

    def can_write_eof(self):
        return False

    def abort(self):
        self.aborted = True

    close = abort


class Owner:
    """Of a link, or of a wire."""

    def __init__(self):
        self.lost = []
        self.bytes = 0

    def link_lost(self, link, reason):
        self.lost.append(reason)

    def push_heard(self, link, push): ...

    def data_received(self, data):
        self.bytes += len(data)

    def connection_lost(self, error):
        self.lost.append(error)


class Wire:
    def write(self, data): ...

    def backlog(self):
        return 0

    def trust(self): ...

    def abort(self): ...


@pytest.fixture
async def link(clock):
    link = Link(Address("tcp", "test"), Owner(), clock, Heartbeat())
    link._opened(Wire())
    beat = asyncio.create_task(link._keep_alive())
    yield link
    beat.cancel()


async def test_a_frame_that_is_dripped_is_no_sign_of_life(link, clock):
    for byte in encode_frame(0xFFFF, Kind.WARN, bytes(1_000))[:100]:
        if link.loss is None:
            link.data_received(bytes([byte]))
            await clock.advance(1)
    assert isinstance(link.loss, ConnectionLostError)
    assert "nothing was heard" in str(link.loss)


async def test_a_long_frame_that_comes_slowly_but_steadily_is_a_sign_of_life(link, clock):
    link.trust()
    link.data_received(encode_frame(0, Kind.DATA, bytes(20 * PROGRESS))[:8])
    for _ in range(19):
        link.data_received(bytes(PROGRESS))
        await clock.advance(4)
    assert link.loss is None
    await clock.advance(16)
    assert link.loss is not None


async def test_before_the_login_a_node_may_not_send_without_end(link):
    link.data_received(STATUS * (MAX_BEFORE_LOGIN // len(STATUS)))
    assert link.loss is None
    link.data_received(STATUS * 2)
    assert isinstance(link.loss, ProtocolError)
    assert "before it took the login" in str(link.loss)


async def test_before_the_login_no_frame_may_be_large(link):
    link.data_received(encode_frame(0xFFFF, Kind.WARN, bytes(MAX_BEFORE_LOGIN + 1))[:8])
    assert isinstance(link.loss, ProtocolError)


async def test_after_the_login_much_may_come(link):
    link.trust()
    link.data_received(STATUS * (2 * MAX_BEFORE_LOGIN // len(STATUS)))
    link.data_received(encode_frame(0xFFFF, Kind.WARN, bytes(MAX_BEFORE_LOGIN + 1)))
    assert link.loss is None


@pytest.fixture
async def websocket():
    """A WebSocket that was opened, and the server's end of it."""
    wire = WebSocketWire(Address("ws", "test", 9270), Owner())
    transport, server = Transport(), ServerProtocol()
    wire.connection_made(transport)
    server.receive_data(bytes(transport.written))
    [request] = server.events_received()
    server.send_response(server.accept(request))
    transport.written.clear()
    wire.data_received(b"".join(server.data_to_send()))
    return wire, transport, server


async def test_a_node_that_pings_and_does_not_read_the_answers_is_given_up(websocket):
    wire, transport, server = websocket
    for _ in range(2 * MAX_PONGS // 125):
        server.send_ping(bytes(125))
        wire.data_received(b"".join(server.data_to_send()))
        if transport.aborted:
            break
    assert transport.aborted
    assert len(transport.written) < MAX_PONGS + 1_000
    wire.connection_lost(None)
    assert "does not read" in str(wire._receiver.lost[0])


async def test_a_node_that_reads_may_ping_for_ever(websocket):
    wire, transport, server = websocket
    for _ in range(2 * MAX_PONGS // 125):
        server.send_ping(bytes(125))
        wire.data_received(b"".join(server.data_to_send()))
        transport.written.clear()
    assert not transport.aborted


@pytest.mark.parametrize("pieces", [1, 100])
async def test_before_the_login_no_websocket_message_may_be_large(websocket, pieces):
    wire, transport, server = websocket
    size = 2 * MAX_BEFORE_LOGIN // pieces
    for number in range(pieces):
        send = server.send_continuation if number else server.send_binary
        send(bytes(size), fin=number == pieces - 1)
        wire.data_received(b"".join(server.data_to_send()))
    assert transport.aborted or wire._protocol.close_sent is not None
    assert wire._receiver.bytes <= MAX_BEFORE_LOGIN + 8
    await settle()


async def test_a_flood_before_the_login_fails_the_connection_with_words(new_client):
    async def flood(reader, writer):
        for _ in range(200):
            writer.write(STATUS * 1_000)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = new_client(auto_reconnect=False)

        async def log_in():
            await client.connect("127.0.0.1", port)
            await client.authenticate("admin", "pass")

        with pytest.raises((ProtocolError, ConnectionError), match="before it took the login"):
            await log_in()
