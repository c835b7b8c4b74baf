"""TCP, UNIX sockets and WebSockets carry the same; TLS verifies unless it is told otherwise."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from tdbwatch.client.transports import dialing
from tdbwatch.client.words import words
from tdbwatch.node import Cluster

TLS = Path(__file__).parent.parent / "node" / "tls"


@pytest.fixture
async def served(tmp_path, clock, furnish):
    async with Cluster(unix_path=tmp_path / "node.sock", websocket=True, clock=clock) as cluster:
        furnish(cluster)
        yield cluster


@pytest.fixture
async def secured(clock, furnish):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    async with Cluster(websocket=True, ssl=context, clock=clock) as cluster:
        furnish(cluster)
        yield cluster


@pytest.fixture
def trusting():
    return ssl.create_default_context(cafile=str(TLS / "cert.pem"))


def urls(node):
    return {
        "tcp": node.address,
        "websocket": node.websocket_url,
        "unix": f"unix://{node.unix_path}",
        "path": str(node.unix_path),
    }


@pytest.mark.parametrize("transport", ["tcp", "websocket", "unix", "path"])
async def test_every_transport_carries_large_requests_answers_and_events(
    new_client, served, Ears, until, transport
):
    client = new_client()
    await client.connect_pool([urls(served.nodes[0])[transport]], "admin", "pass")
    assert client.is_websocket() is (transport == "websocket")
    assert await client.query("echo;", scope="//stuff", data=b"x" * 3_000_000) == {"data": b"x" * 3_000_000}
    ears = Ears("alerts")
    await ears.join(client)
    for number in range(300):
        served.emit("//stuff", "alerts", str(number), b"y" * (number * 100))
    await until(lambda: len(ears.heard) == 300)
    assert ears.events == [str(number) for number in range(300)]


class Foreign:
    """What uvloop's loops give to a protocol: a transport, but of no class of asyncio's."""

    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)


@pytest.mark.parametrize("transport", ["tcp", "websocket", "unix"])
async def test_a_transport_need_not_be_of_asyncios_classes(new_client, served, monkeypatch, until, transport):
    loop = asyncio.get_running_loop()
    wires = []

    def with_foreign(connect):
        def connect_with(make, *args, **options):
            def make_foreign():
                wire = make()
                made = wire.connection_made
                wire.connection_made = lambda transport: made(Foreign(transport))
                wires.append(wire)
                return wire

            return connect(make_foreign, *args, **options)

        return connect_with

    for name in ("create_connection", "create_unix_connection"):
        monkeypatch.setattr(loop, name, with_foreign(getattr(loop, name)))
    client = new_client()
    await client.connect_pool([urls(served.nodes[0])[transport]], "admin", "pass")
    assert isinstance(wires[0]._transport, Foreign)
    assert await client.query("echo;", scope="//stuff", n=1) == {"n": 1}
    await client.close_and_wait()
    await until(lambda: not served.nodes[0].connections)


async def test_connect_takes_a_uri_that_names_its_own_port(new_client, served):
    client = new_client()
    await client.connect(served.nodes[0].websocket_url)
    await client.authenticate("admin", "pass")
    assert client.is_websocket()
    assert client.connection_info() == served.nodes[0].websocket_url


@pytest.mark.parametrize("transport", ["websocket", "unix"])
async def test_a_lost_connection_is_made_again(new_client, served, transport, until, clock):
    client = new_client()
    await client.connect_pool([urls(served.nodes[0])[transport]], "admin", "pass")
    served.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
    assert await client.query("echo;", scope="//stuff") == {}


async def test_what_is_no_websocket_is_refused_with_a_reason(new_client, served):
    with pytest.raises(OSError, match=r"WebSocket"):
        await new_client().connect(f"ws://{served.nodes[0].address}")


async def test_a_websocket_handshake_that_is_refused_says_so(new_client):
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    with pytest.raises(ConnectionRefusedError, match="403"):
        await new_client().connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()
    await server.wait_closed()


async def test_a_websocket_handshake_that_is_never_answered_times_out(new_client):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TimeoutError, match="did not answer"),
    ):
        await new_client().connect(f"ws://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)


async def test_a_missing_unix_socket_is_an_error(new_client, tmp_path):
    with pytest.raises(FileNotFoundError):
        await new_client().connect(f"unix://{tmp_path}/none.sock")


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_an_own_context_decides_whom_to_trust(new_client, secured, trusting, transport):
    client = new_client(ssl=trusting)
    await client.connect_pool([urls(secured.nodes[0])[transport]], "admin", "pass")
    assert await client.query("echo;", scope="//stuff", n=b"z" * 1_000_000)


async def test_true_refuses_a_certificate_that_nobody_vouches_for(new_client, secured):
    node = secured.nodes[0]
    with pytest.raises(
        ssl.SSLCertVerificationError, match=f"{node.address}: its certificate was refused: self"
    ):
        await new_client(ssl=True).connect(node.host, node.port)


@pytest.mark.parametrize("setting", [None, True, False])
async def test_wss_verifies_by_default(new_client, secured, setting):
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate was refused"):
        await new_client(ssl=setting).connect(secured.nodes[0].websocket_url)


async def test_a_certificate_for_another_host_is_refused(new_client, secured, trusting, monkeypatch):
    async def look_up(host, port):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(dialing, "look_up", look_up)
    client = new_client(ssl=trusting)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        await client.connect("other.test", secured.nodes[0].port)
    await client.connect("localhost", secured.nodes[0].port)


@pytest.mark.parametrize("scheme", ["", "wss://"])
async def test_a_dot_behind_the_host_is_for_the_name_server_and_not_for_the_certificate(
    new_client, secured, trusting, monkeypatch, scheme
):
    asked = []

    async def look_up(host, port):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(dialing, "look_up", look_up)
    node = secured.nodes[0]
    port = node.websocket_url.rpartition(":")[2] if scheme else node.port
    client = new_client(ssl=trusting)
    await client.connect_pool([f"{scheme}localhost.:{port}"], "admin", "pass")
    assert asked == ["localhost."]


@pytest.mark.parametrize("scheme", ["", "wss://", "ws://"])
async def test_a_connection_that_is_closed_while_it_is_made_fails_with_words(new_client, scheme, trusting):
    async def close(reader, writer):
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match="closed"):
            await new_client(ssl=trusting).connect(f"{scheme}127.0.0.1:{port}")


def test_every_error_has_words():
    for kind in (
        OSError,
        ConnectionResetError,
        ConnectionAbortedError,
        TimeoutError,
        ssl.SSLError,
        ValueError,
    ):
        assert words(kind()).strip(), kind
    assert words(OSError(111, "Connection refused")) == "Connection refused"
    assert words(ValueError("a\x1b[2Jb\n" + "c" * 9_000)).startswith(r"a\x1b[2Jb\nccc")
    assert len(words(ValueError("c" * 9_000))) <= 2_000


async def test_a_connection_without_tls_to_a_node_with_it_fails_cleanly(new_client, secured, until):
    client = new_client()
    ready = client.connect_pool([secured.nodes[0].address], "admin", "pass")
    await until(lambda: not secured.nodes[0].connections)
    ready.cancel()


async def test_a_tls_connection_is_closed_in_order(new_client, secured, trusting, until):
    client = new_client(ssl=trusting)
    await client.connect(secured.nodes[0].host, secured.nodes[0].port)
    await client.close_and_wait()
    await until(lambda: not secured.nodes[0].connections)


async def test_keepalive_and_nodelay_are_set_on_tcp(new_client, served):
    client = new_client()
    await client.connect("127.0.0.1", served.nodes[0].port)
    sock = client.links()[0]._wire._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
