"""The status server against careless and hostile visitors: real sockets, and a snapshot that is made up."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.daemon.config.models.config import HttpConfig
from tdbwatch.daemon.status.figures import Surveyor
from tdbwatch.daemon.status.port import visitors
from tdbwatch.daemon.status.port.hosts import Hosts
from tdbwatch.daemon.status.port.server import StatusServer

from .status_moments import Fine

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


Start = Callable[..., Awaitable[int]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server and returns its port."""
    servers: list[StatusServer] = []

    async def _start(listen: str = "127.0.0.1:0", **more: Any) -> int:
        surveyor = Surveyor(tmp_path / "spool.db", tuple, SYSTEM_CLOCK)
        server = StatusServer(Fine(), surveyor, HttpConfig(listen=listen, **_secret(more)), SYSTEM_CLOCK)
        servers.append(server)
        await server.run()
        assert server.port is not None
        return server.port

    yield _start
    for server in servers:
        await server.stop()


def _secret(more: dict[str, Any]) -> dict[str, Any]:
    return more | {"token": SecretStr(more["token"])} if "token" in more else more


async def ask(port: int, request: bytes = HEALTH) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer; what follows it is not read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(head[0].split()[1]), headers, body.decode()


async def closed(reader: asyncio.StreamReader) -> None:
    """Return when the server has closed the connection, without an answer."""
    async with asyncio.timeout(20):
        try:
            assert await reader.read() == b""
        except ConnectionError:
            return


async def test_idle_connections_keep_nobody_out(start: Start) -> None:
    port = await start()
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * visitors.MAX_CONNECTIONS)]
    for _, writer in idle[::2]:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost:")
    for _ in range(5):
        assert (await ask(port))[0] == 200
    for reader, _ in idle[: 2 * visitors.MAX_CONNECTIONS]:
        await closed(reader)
    for _, writer in idle:
        writer.close()


async def test_a_connection_that_never_finishes_its_request_is_closed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "CONNECTION_LIFE", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", await start())
    writer.write(b"GET /healthz HTTP/1.1\r\nHost:")
    await closed(reader)
    writer.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: nonsense\r\nContent-Length: -1\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: nonsense\r\nConnection: close\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
)
async def test_what_cannot_be_answered_gets_the_headers_of_any_answer_and_learns_nothing(
    start: Start, nonsense: bytes
) -> None:
    port = await start()
    _, good, _ = await ask(port)
    status, headers, body = await ask(port, nonsense)
    assert 400 <= status < 500
    assert "aiohttp" not in body
    assert len(body) < 60
    differ = {"content-type", "content-length", "date", "connection"}
    assert {k: v for k, v in headers.items() if k not in differ} == {
        k: v for k, v in good.items() if k not in differ
    }
    assert headers["server"] == "tdbwatch"


async def test_what_is_no_http_is_said_of_numbers_1_2_4_8(start: Start) -> None:
    port = await start()
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            await ask(port, b"\x00\x01\x02 nonsense\r\n\r\n")
    assert [line["count"] for line in logs] == [1, 2, 4, 8, 16]
    assert not any("exc_info" in line for line in logs)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:9280", 200),
        ("127.0.0.1:9280", 200),
        ("[::1]:9280", 200),
        ("evil.example", 421),
        ("evil.example:9280", 421),
        ("127.0.0.1.evil.example", 421),
        ("10.0.0.7", 421),
        ("", 421),
    ],
)
async def test_on_loopback_only_its_own_names_are_answered(start: Start, host: str, status: int) -> None:
    request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert (await ask(await start(), request.encode()))[0] == status


async def test_more_names_can_be_configured_and_old_clients_send_none(start: Start) -> None:
    port = await start(hosts=("watch.example.org",))
    asked = "GET /healthz HTTP/1.{}\r\n{}Connection: close\r\n\r\n"
    assert (await ask(port, asked.format(1, "Host: Watch.Example.org\r\n").encode()))[0] == 200
    assert (await ask(port, asked.format(1, "Host: other.example.org\r\n").encode()))[0] == 421
    assert (await ask(port, asked.format(0, "").encode()))[0] == 200


@pytest.mark.parametrize(
    ("more", "host", "allowed"),
    [
        ((), "anything.example", True),
        (("watch.example",), "watch.example:9280", True),
        (("watch.example",), "anything.example", False),
        (("watch.example",), "10.0.0.7:9280", True),
        (("watch.example",), "[2001:db8::1]", True),
        (("watch.example",), "localhost", True),
    ],
)
def test_beyond_loopback_any_name_counts_until_some_are_configured(
    more: tuple[str, ...], host: str, allowed: bool
) -> None:
    assert Hosts("0.0.0.0", more, ["0.0.0.0", "::"]).allow(host) == allowed


def get(path: str, *headers: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def basic(text: str) -> str:
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


TOKEN = "s3same:0pen"


async def test_with_a_token_only_who_knows_it_is_told_anything(start: Start) -> None:
    port = await start(token=TOKEN)
    good = ("Authorization: Bearer " + TOKEN, "authorization: bearer  " + TOKEN, basic(f"me:{TOKEN}"))
    bad = (
        "",
        "Authorization: Bearer",
        "Authorization: Bearer s3same",
        f"Authorization: Bearer {TOKEN}x",
        f"Authorization: {TOKEN}",
        "Authorization: Bearer \xe9",
        basic(TOKEN),
        basic("me:"),
        "Authorization: Basic ???",
        f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}",
    )
    for path in ("/", "/metrics", "/status.json"):
        assert [(await ask(port, get(path, header)))[0] for header in good] == [200] * len(good)
    for path in ("/", "/metrics", "/status.json", "/nowhere"):
        with structlog.testing.capture_logs() as logs:
            answers = [await ask(port, get(path, *filter(None, [header]))) for header in bad]
        assert [status for status, _, _ in answers] == [401] * len(bad)
        assert all("basic realm" in headers["www-authenticate"] for _, headers, _ in answers)
        assert not any("s3same" in f"{answer}" for answer in [*answers, *logs])
    assert (await ask(port, get("/healthz")))[2] == '{"alive": true}'
    assert (await ask(port, get("/readyz")))[2] == '{"ready": true}'
    assert "reasons" in (await ask(port, get("/readyz", good[0])))[2]


async def test_of_those_who_do_not_know_the_token_numbers_1_2_4_8_are_said(start: Start) -> None:
    port = await start(token=TOKEN)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            await ask(port, get("/metrics", "Authorization: Bearer guess"))
    assert [(line["event"], line["count"]) for line in logs] == [("status.refused", n) for n in (1, 2, 4)]
    assert all(line["sender"] == "127.0.0.1" for line in logs)


@pytest.mark.parametrize(
    "line", ["http://evil.example/healthz", "http://u@evil.example:80/", "evil:443", "*"]
)
async def test_the_name_in_a_request_line_counts_as_the_host_header_does(start: Start, line: str) -> None:
    port = await start()
    assert (await ask(port, get(line)))[0] in {400, 421}
    assert (await ask(port, get("http://localhost/healthz")))[0] == 200


@pytest.mark.parametrize("token", ["two words", "t\u00f6ken-of-letters", "tab\tbed", ""])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        HttpConfig(listen="127.0.0.1:0", token=SecretStr(token))
