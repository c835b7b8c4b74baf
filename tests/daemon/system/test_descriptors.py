"""A process without descriptors: what must not fail goes on, and who has many gives some back."""

import asyncio
import os
import socket
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tdbwatch.client import Client
from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.daemon.config.models.config import HttpConfig
from tdbwatch.daemon.hosting.sink_thread import LoopThread
from tdbwatch.daemon.status.figures import Surveyor
from tdbwatch.daemon.status.port.server import StatusServer
from tdbwatch.daemon.status.snapshot import Life
from tdbwatch.daemon.system import process
from tdbwatch.daemon.system.systemd import Notifier
from tdbwatch.descriptors import HELD, PORTION, Reserve, require, was_short
from tdbwatch.node import Cluster
from tdbwatch.tls_files import TlsFiles
from tests.daemon.spool.memory_spool_kit import MemorySpool
from tests.daemon.status.status_moments import FINE

TLS = Path(__file__).parents[2] / "node" / "tls"
ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def taken() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_lent_is_free_until_somebody_looks(none_left: Any) -> None:
    before, reserve = taken(), Reserve()
    assert not reserve.lend(), "where nobody looks there is none"
    assert reserve.look()
    assert taken() == before + HELD
    with none_left():
        assert not reserve.look(), "not one is left besides"
        with pytest.raises(OSError, match="raise the limit of open files"):
            require()
        assert reserve.lend()
        require(PORTION)
    assert reserve.look()
    reserve.close()
    assert taken() == before


def test_who_has_many_is_asked_as_long_as_there_are_too_few(none_left: Any) -> None:
    reserve, given = Reserve(), list[int]()
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]

    def give() -> None:
        os.close(kept.pop())
        given.append(reserve.pressure)

    reserve.look()
    reserve.givers.add(give)
    with none_left():
        assert not reserve.look()
        assert reserve.look()
    assert given == [1]
    for _ in range(600):
        assert reserve.look()
    assert reserve.pressure == 0, "a rush need not be paid for ever"
    reserve.close()
    os.close(kept.pop())


async def test_it_is_said_with_the_remedy_and_ever_more_rarely(none_left: Any, held: Reserve) -> None:
    with capture_logs() as logs, none_left():
        minding = asyncio.create_task(process.mind_descriptors(0))
        async with asyncio.timeout(20):
            while [line["event"] for line in logs].count("process.no_descriptors") < 3:
                await asyncio.sleep(0)
        minding.cancel()
        await asyncio.wait([minding])
    times = [line["times"] for line in logs if line["event"] == "process.no_descriptors"]
    assert times[:3] == [1, 2, 4]
    assert held.pressure >= times[-1] or held.pressure == 16
    assert "LimitNOFILE" in logs[0]["remedy"]


async def test_a_link_is_made_when_none_is_left(none_left: Any, held: Reserve) -> None:
    async with Cluster(1) as cluster:
        client = Client()
        async with asyncio.timeout(20):
            with none_left():
                await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
        assert client.is_connected()
        await client.close_and_wait()


def test_certificates_that_cannot_be_read_are_not_taken_for_none(none_left: Any) -> None:
    """OpenSSL says nothing of it, and would refuse every certificate from then on."""
    files = TlsFiles(SimpleNamespace(ca_file=None, cert_file=None, key_file=None, verify=True))
    with none_left(), pytest.raises(OSError, match="Too many open files"):
        files.load()
    assert files.load().verify_mode is ssl.CERT_REQUIRED


def test_certificates_that_could_not_be_read_are_read_later(none_left: Any, held: Reserve) -> None:
    ca = TLS / "cert.pem"
    files = TlsFiles(SimpleNamespace(ca_file=ca, cert_file=None, key_file=None, verify=True))
    files.load()
    assert not files.changed()
    held.close()
    with none_left(), pytest.raises(OSError, match="Too many open files"):
        files.load()
    assert files.changed()


def test_systemds_watchdog_hears_us_all_the_same(tmp_path: Path, none_left: Any) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1"})
        notifier.ready("")
        with none_left():
            notifier.alive()
        notifier.stopping()
        assert [systemd.recv(100).partition(b"\n")[0] for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]


async def test_no_thread_for_a_sink_takes_the_last_ones(none_left: Any) -> None:
    with none_left(), pytest.raises(OSError, match="raise the limit of open files"):
        LoopThread("sink")


def test_a_name_that_is_not_found_for_want_of_one_counts_as_that(none_left: Any) -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert not was_short(error)
    with none_left():
        assert was_short(error)


class _Fine:
    log = MemorySpool()

    def life(self) -> Life:
        return Life("running", "")

    def snapshot(self, figures: object) -> Any:
        return FINE

    def plugin_metrics(self) -> bytes:
        return b""


async def status_server(folder: Path) -> StatusServer:
    surveyor = Surveyor(folder / "spool.db", tuple, SYSTEM_CLOCK)
    return StatusServer(_Fine(), surveyor, HttpConfig(listen="127.0.0.1:0"), SYSTEM_CLOCK)


async def test_healthz_answers_when_none_is_left(
    tmp_path: Path, none_left: Any, held: Reserve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await status_server(tmp_path)
    await server.run()
    idle, asking, waiting = (socket.socket() for _ in range(3))
    loop = asyncio.get_running_loop()
    idle.connect(("127.0.0.1", server.port))
    while not held.givers or not server._visitors._present:
        await asyncio.sleep(0)
    with none_left():
        for visitor in (asking, waiting):
            visitor.connect(("127.0.0.1", server.port))
            visitor.setblocking(False)
            visitor.send(ASK)
            async with asyncio.timeout(20):
                assert b"200 OK" in await loop.sock_recv(visitor, 100)
        held.close()
    assert await loop.sock_recv(idle, 1) == b"", "the oldest left first"
    for visitor in (idle, asking, waiting):
        visitor.close()
    await server.stop()
    assert not held.givers
    assert not caplog.records


async def test_a_port_that_cannot_be_listened_on_for_want_of_one_is_tried_again(
    tmp_path: Path, none_left: Any
) -> None:
    server = await status_server(tmp_path)
    with none_left():
        assert not await server._listen()
    assert "Too many open files" in (server.trouble or "")
    await server.run()
    assert server.port
    await server.stop()
