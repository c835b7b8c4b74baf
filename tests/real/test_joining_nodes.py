"""A node that is just joining its cluster refuses every login for some seconds: it knows no users yet."""

import os
from pathlib import Path

import pytest

from tdbwatch.client import Client
from tdbwatch.exceptions import AuthError

from .cluster import RealCluster, ask
from .daemon import DaemonProcess, JsonLines, in_use
from .target import HOW_TO
from .waiting import until

pytestmark = pytest.mark.real

TRIES = 20
ROOM = ".alerts = room(); .alerts.set_name('alerts'); nil;"


@pytest.fixture
async def growing(tmp_path):
    """A cluster of one node, and a second one that joins it: it answers, and refuses logins."""
    if not (binary := os.environ.get("TDBWATCH_THINGSDB_BIN")):
        pytest.skip(HOW_TO)
    (folder := tmp_path / "nodes").mkdir()
    cluster = RealCluster(Path(binary).resolve(strict=True), folder, size=2)
    try:
        await cluster.found()
        await ask(cluster.nodes[0].address, cluster.auth, ROOM, "//stuff")
        await cluster.add(cluster.nodes[1])
        await until(lambda: refuses(cluster), "the second node to answer")
        yield cluster
    finally:
        cluster.stop()


async def refuses(cluster):
    try:
        await ask(cluster.nodes[1].address, cluster.auth, "1;", "@n", timeout=1)
    except AuthError:
        return True
    except OSError:
        return False
    return False


def addresses(cluster):
    return [node.address for node in cluster.nodes]


async def test_every_first_connection_of_a_pool_works_while_one_of_its_nodes_refuses(growing, figure):
    used = []
    for _ in range(TRIES):
        async with Client() as client:
            await client.connect_pool(addresses(growing), *growing.auth)
            used.append(client.connection_info())
    assert await refuses(growing), "else it was too late to show anything"
    assert used == [growing.nodes[0].address] * TRIES
    figure("first connections while a node joins", f"{TRIES} of {TRIES}")


async def test_a_pool_of_nodes_that_all_refuse_is_an_error_of_the_login(growing):
    async with Client() as client:
        with pytest.raises(AuthError, match="no node takes the login"):
            await client.connect_pool(addresses(growing), "admin", "wr0ng-passw0rd")


async def test_a_daemon_starts_while_a_node_joins_and_uses_it_when_it_has(growing, tmp_path):
    journal = JsonLines(tmp_path / "journal.jsonl")
    daemon = DaemonProcess(
        tmp_path,
        addresses(growing),
        growing.auth,
        {"scope": "//stuff"},
        {
            "rooms": ["alerts"],
            "sinks": {"journal": {"type": "file", "path": str(journal.path)}},
            "routes": [{"match": {"kind": ["event", "gap", "room", "node"]}, "to": ["journal"]}],
        },
    )
    try:
        await daemon.start()
        assert await refuses(growing), "else it was too late to show anything"
        await until(lambda: len(in_use(journal)) == 2, "the second connection", 60)
        assert await daemon.stop() == 0
        assert journal.of_kind("gap") == []
    finally:
        daemon.kill()
