"""Secrets and certificates that were replaced on disk: after a reload the next login and webhook use them."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tdbwatch.node import Cluster
from tests.daemon.reload.reload_kit import Rig

TESTS = Path(__file__).parents[2]
FIRST = TESTS / "node" / "tls"
SECOND = TESTS / "sinks" / "tls"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(1, shutdown_period=0.1) as made:
        made.add_room("//stuff", "alerts")
        made.on_query("nil")
        made.add_token("first-token")
        made.add_token("second-token")
        yield made


@pytest.fixture
async def rig(tmp_path: Path, cluster: Cluster) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, cluster)
    yield made
    await made.daemon.stop()


class Receiver:
    """Speaks TLS, wants a certificate, and remembers which it was and what came in the header."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert")
        self.seen.append((certificate["serialNumber"], request.headers["Authorization"]))
        return web.Response()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for trusted in (FIRST / "cert.pem", SECOND / "elsewhere.pem"):
        context.load_verify_locations(trusted)
    context.load_cert_chain(FIRST / "cert.pem", FIRST / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.router.add_post("/", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


def put(path: Path, content: str) -> str:
    path.write_text(content)
    path.chmod(0o600)
    return str(path)


async def test_the_next_login_uses_the_token_of_now_and_the_connection_stays(rig: Rig) -> None:
    file = put(rig.folder / "token", "first-token")
    nodes = rig.sections["thingsdb"]["nodes"]
    await rig.start(thingsdb={"nodes": nodes, "auth": {"token_file": file}})
    put(rig.folder / "token", "second-token")
    verdict = await rig.reload()
    assert verdict.changes == ("thingsdb.auth changed",)
    assert len([entry for entry in rig.cluster.log if entry.kind.name == "AUTH"]) == 1
    rig.cluster.users.revoke_token("first-token")
    rig.cluster.nodes[0].faults.close_connections()
    await rig.until(lambda: len([entry for entry in rig.cluster.log if entry.kind.name == "AUTH"]) == 2)
    await rig.until(lambda: all(room.is_joined for room in rig.daemon.rooms))
    sent = rig.emit()
    await rig.drained()
    assert rig.lists.numbers("a") == sent
    assert not rig.daemon.journal.nodes[nodes[0]].refused


async def test_the_next_webhook_uses_the_secret_and_the_certificate_of_now(
    rig: Rig, receiver: Receiver
) -> None:
    bearer = put(rig.folder / "bearer", "old")
    cert = put(rig.folder / "cert.pem", (FIRST / "cert.pem").read_text())
    key = put(rig.folder / "key.pem", (FIRST / "key.pem").read_text())
    hook: dict[str, Any] = {
        "type": "webhook",
        "url": receiver.url,
        "auth": {"bearer_file": bearer},
        "tls": {"ca_file": str(FIRST / "cert.pem"), "cert_file": cert, "key_file": key},
    }
    await rig.start(sinks={"a": {"type": "list"}, "hook": hook})
    rig.emit()
    await rig.drained()
    put(rig.folder / "bearer", "new")
    put(rig.folder / "cert.pem", (SECOND / "elsewhere.pem").read_text())
    put(rig.folder / "key.pem", (SECOND / "key.pem").read_text())
    verdict = await rig.reload()
    assert verdict.changes == ("sink hook reopened",)
    rig.emit()
    await rig.drained()
    (first, old), (second, new) = receiver.seen
    assert (old, new) == ("Bearer old", "Bearer new")
    assert first != second, "though the connection could have been used again"
    assert (await rig.reload()).word == "unchanged"
    assert rig.lists.opened == ["a"]


async def test_files_that_make_no_certificate_are_refused_and_the_former_ones_serve_on(rig: Rig) -> None:
    await rig.start()
    tls = {"ca_file": put(rig.folder / "ca.pem", "half written")}
    nodes = [*rig.sections["thingsdb"]["nodes"], "wss://127.0.0.1:9"]
    verdict = await rig.reload(thingsdb={**rig.sections["thingsdb"], "nodes": nodes, "tls": tls})
    assert not verdict.accepted
    assert verdict.problems[0].path == "thingsdb.tls"
    assert "ca.pem" in verdict.problems[0].message
