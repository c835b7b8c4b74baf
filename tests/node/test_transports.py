"""UNIX sockets, WebSockets and TLS: the same node behind each."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tdbwatch.node import Cluster
from tdbwatch.wire import Emit, Kind, encode_frame


@pytest.fixture
async def served(tmp_path):
    async with Cluster(2, unix_path=tmp_path / "{id}.sock", websocket=True) as cluster:
        cluster.add_room("//stuff", "alerts")
        yield cluster


@pytest.mark.parametrize("transport", ["tcp", "unix", "websocket"])
async def test_events_cross_nodes_and_transports(served, dial, transport):
    peer = await (await dial(served.nodes[1], transport)).auth()
    await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
    emitter = await (await dial(served.nodes[0])).auth()
    await emitter.ask(Kind.EMIT, ["//stuff", "alerts", "e", b"x" * 200_000])
    *_, emit = await peer.until(lambda each: isinstance(each, Emit))
    assert (emit.event, emit.args) == ("e", (b"x" * 200_000,))


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_tls_is_spoken_with_a_certificate_that_verifies(certificate, dial, transport):
    server, client = certificate
    async with Cluster(websocket=True, ssl=server) as cluster:
        assert cluster.nodes[0].websocket_url.startswith("wss://")
        peer = await (await dial(cluster.nodes[0], transport, ssl=client)).auth()
        assert await peer.pending() == []
        await peer.close()


async def test_a_websocket_message_carries_one_frame(served):
    async with connect(served.nodes[0].websocket_url, compression=None) as socket:
        await socket.send(encode_frame(1, Kind.PING) + encode_frame(2, Kind.PING))
        assert await socket.recv() == encode_frame(1, Kind.PONG)
        assert await socket.recv() == encode_frame(2, Kind.PONG)


async def test_a_message_in_fragments_is_read_as_one(served):
    async with connect(served.nodes[0].websocket_url, compression=None) as socket:
        frame = encode_frame(1, Kind.PING)
        await socket.send([frame[:3], frame[3:]])
        assert await socket.recv() == encode_frame(1, Kind.PONG)


async def test_websocket_pings_are_answered(served):
    async with connect(served.nodes[0].websocket_url) as socket, asyncio.timeout(20):
        await (await socket.ping())


async def test_a_text_message_ends_the_connection(served):
    async with connect(served.nodes[0].websocket_url) as socket:
        await socket.send("hello")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1003


async def test_a_wrong_check_byte_ends_a_websocket_too(served):
    async with connect(served.nodes[0].websocket_url) as socket:
        await socket.send(b"\xff" * 8)
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_closed_websocket_is_forgotten(served):
    async with connect(served.nodes[0].websocket_url):
        pass
    async with asyncio.timeout(20):
        while served.nodes[0].connections:
            await asyncio.sleep(0)


async def test_http_that_is_no_websocket_is_told_so(served):
    url = served.nodes[0].websocket_url.removeprefix("ws://")
    host, port = url.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"426" in await asyncio.wait_for(reader.readline(), 20)
    await asyncio.wait_for(reader.read(), 20)
    writer.close()


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 100, b"\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\xff\xfe\r\n\r\n"]
)
async def test_garbage_instead_of_a_handshake_is_closed(served, garbage):
    url = served.nodes[0].websocket_url.removeprefix("ws://")
    reader, writer = await asyncio.open_connection(*url.split(":"))
    writer.write(garbage + b"\r\n")
    await asyncio.wait_for(reader.read(), 20)
    writer.close()


async def test_the_socket_file_is_gone_when_the_node_is(tmp_path):
    async with Cluster(unix_path=tmp_path / "client.sock") as cluster:
        assert cluster.nodes[0].unix_path.is_socket()
    assert not (tmp_path / "client.sock").exists()


async def test_a_websocket_node_comes_back_on_the_same_port(served, dial):
    node = served.nodes[0]
    url = node.websocket_url
    await node.stop()
    with pytest.raises((OSError, InvalidStatus)):
        await connect(url)
    await node.start()
    assert node.websocket_url == url
    assert await (await dial(node, "websocket")).pending() == []
