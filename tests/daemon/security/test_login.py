"""Secrets and certificates for nodes may be changed while it runs: each connection reads them anew."""

import asyncio
import os
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.config import AuthConfig, TlsConfig, load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.security.login import Login, NodeTls
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.redaction import redact
from tdbwatch.testing import ManualClock
from tests.daemon.spool.spool_kit import until

TLS = Path(__file__).parents[2] / "node" / "tls"


async def passes(condition: Callable[[], object], clock: ManualClock) -> None:
    """Let time pass until it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await clock.advance(0.25)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("auth", [{"token": "first"}, {"username": "ann", "password": "first"}])
async def test_the_secret_of_a_file_is_the_one_that_it_holds_now(
    tmp_path: Path, auth: dict[str, Any]
) -> None:
    file = tmp_path / "secret"
    login = Login(AuthConfig.model_validate(auth), file)
    user = auth.get("username")
    for secret in ("first", "second-secret"):
        file.write_text(secret + "\n")
        assert await login() == (secret if user is None else (user, secret))
    assert "second-secret" not in redact("it was second-secret")


async def test_a_file_that_cannot_be_read_leaves_the_secret_of_before_and_is_said_once(
    tmp_path: Path,
) -> None:
    login = Login(AuthConfig.model_validate({"token": "first"}), tmp_path / "secret")
    with structlog.testing.capture_logs() as said:
        assert [await login(), await login()] == ["first", "first"]
    assert [line["event"] for line in said] == ["links.secret_unreadable"]


async def test_a_disk_that_hangs_leaves_the_secret_of_before_and_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, reads = threading.Event(), []

    def hang(path: Path) -> str:
        reads.append(path)
        goes_on.wait(20)
        return "second"

    monkeypatch.setattr("tdbwatch.daemon.security.login.read_secret", hang)
    monkeypatch.setattr("tdbwatch.daemon.security.login.READ_SECONDS", 0.01)
    login = Login(AuthConfig.model_validate({"token": "first"}), tmp_path / "secret")
    assert await login() == "first"
    await until(lambda: reads)  # its thread may take its time to begin
    assert [await login(), await login()] == ["first"] * 2
    assert len(reads) == 1
    goes_on.set()
    monkeypatch.setattr("tdbwatch.daemon.security.login.READ_SECONDS", 20.0)
    assert await login() == "second"


async def test_certificates_that_are_rotated_count_at_the_next_connection(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(TLS / "cert.pem", file)
    tls = NodeTls(TlsConfig(ca_file=file))
    first = await tls()
    assert await tls() is first
    os.utime(file, (1, 1))
    second = await tls()
    assert second is not first
    file.write_text("no certificate")
    with structlog.testing.capture_logs() as said:
        assert await tls() is second
    assert [line["event"] for line in said] == ["links.tls_files_unusable"]
    assert isinstance(second, ssl.SSLContext)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(1) as made:
        made.add_room("//stuff", "alerts")
        made.add_token("first-token")
        yield made


async def test_a_token_that_is_changed_while_it_runs_is_a_state_a_gap_and_no_restart(
    tmp_path: Path, cluster: Cluster
) -> None:
    secret, clock = tmp_path / "token", ManualClock(1_700_000_000)
    secret.write_text("first-token")
    secret.chmod(0o600)
    (tmp_path / "watch.yaml").write_text(f"""
thingsdb: {{nodes: ["{cluster.nodes[0].address}"], auth: {{token_file: {secret}}}}}
rooms: [alerts]
sinks: {{console: {{type: log}}}}
spool: {{path: {tmp_path}/spool.db}}
shutdown: {{grace: 1s}}
""")
    registry = load_plugins((), ())
    daemon = Daemon(load(tmp_path / "watch.yaml", registry.sink_types), registry, clock=clock)
    await daemon.start()
    cluster.users.revoke_token("first-token")
    cluster.nodes[0].faults.close_connections()
    with structlog.testing.capture_logs() as said:
        await passes(lambda: any(line["event"] == "links.login_refused" for line in said), clock)
    assert daemon.journal.nodes[cluster.nodes[0].address].refused
    cluster.add_token("second-token")
    secret.write_text("second-token")
    await passes(lambda: len(daemon.journal.gaps) == 2, clock)
    assert [gap.cause for gap in daemon.journal.gaps] == ["connection", "login"]
    stopping = asyncio.ensure_future(daemon.stop())
    await passes(stopping.done, clock)
