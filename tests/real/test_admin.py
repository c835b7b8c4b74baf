"""Every short name of an administrative call, with every argument, on a real node."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tdbwatch import exceptions
from tdbwatch.client.admin import LOG_LEVELS, Admin
from tdbwatch.compat.util import Access

pytestmark = pytest.mark.real

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


@pytest.fixture
def name():
    return f"n{secrets.token_hex(6)}"


@pytest.fixture
async def client(connect, target):
    """Connected to the first node, which the others hear of later."""
    return await connect(target.nodes[0])


async def test_collections(client, name):
    assert await client.new_collection(name) == name
    assert await client.has_collection(name) is True
    await client.set_time_zone(name, "Europe/Amsterdam")
    info = await client.collection_info(name)
    assert (info["name"], info["time_zone"]) == (name, "Europe/Amsterdam")
    await client.rename_collection(info["collection_id"], f"{name}_2")
    assert f"{name}_2" in [info["name"] for info in await client.collections_info()]
    await client.del_collection(f"{name}_2")
    assert await client.has_collection(f"{name}_2") is False
    assert "Europe/Amsterdam" in await client.time_zones_info()


async def test_users_and_their_tokens(client, name):
    assert await client.new_user(name) == name
    await client.set_password(name, "secret")
    assert (await client.user_info(name))["has_password"] is True
    await client.set_password(name, None)
    await client.grant("@t", name, Access.FULL)
    await client.revoke("@t", name, Access.GRANT)
    lasting, passing = await client.new_token(name), await client.new_token(name, LATER, "for a day")
    info = await client.user_info(name)
    assert info["has_password"] is False
    assert info["access"] == [{"scope": "@thingsdb", "privileges": "USER"}]
    expires = datetime.fromisoformat(
        next(t for t in info["tokens"] if t["key"] == passing)["expiration_time"]
    )
    assert expires == LATER
    await client.del_token(lasting)
    assert [await client.has_token(token) for token in (lasting, passing)] == [False, True]
    await client.del_expired()
    await client.rename_user(name, f"{name}_2")
    assert await client.has_user(f"{name}_2") is True
    await client.del_user(f"{name}_2")
    assert f"{name}_2" not in [user["name"] for user in await client.users_info()]
    assert (await client.user_info())["name"] == "admin"


async def test_backups(client, name, tmp_path):
    template = str(tmp_path / f"{name}_{{DATE}}.tar.gz")
    ids = [await client.new_backup(template), await client.new_backup(template, LATER, 3600, 5, scope="@n")]
    ids.append(await client.new_backup(template, None, None, None))
    assert all([await client.has_backup(number) for number in ids])
    info = await client.backup_info(ids[1])
    assert (info["repeat"], info["max_files"]) == (3600, 5)
    assert datetime.fromisoformat(info["next_run"]) == LATER
    assert {backup["id"] for backup in await client.backups_info()} >= set(ids)
    assert isinstance(await client.backups_ok(), bool)
    for number, delete_files in zip(ids, (False, True, True), strict=True):
        await client.del_backup(number, delete_files)
    assert not any([await client.has_backup(number, scope="@n") for number in ids])


async def test_modules(client, name):
    await client.new_module(name, f"{name}.py", {"a": 1})
    assert await client.has_module(name) is True
    await client.set_module_conf(name, {"b": 2})
    await client.set_module_scope(name, "@t")
    info = await client.module_info(name)
    assert (info["conf"], info["scope"]) == ({"b": 2}, "@thingsdb")
    await client.set_module_scope(name, None)
    await client.set_module_conf(name)
    for data in ("print('x')", b"print('x')", None):
        await client.deploy_module(name, data)
    await client.refresh_module(name)
    await client.restart_module(name)
    await client.rename_module(name, f"{name}_2")
    assert f"{name}_2" in [module["name"] for module in await client.modules_info()]
    await client.del_module(f"{name}_2")
    assert await client.has_module(f"{name}_2") is False


async def test_a_node(client):
    assert (await client.node_info())["status"] == "READY"
    assert len(await client.nodes_info("@n")) >= 1
    await client.query("1;")
    await client.reset_counters()
    assert (await client.counters())["queries_success"] <= 3
    level = (await client.node_info())["log_level"]
    for other in (*LOG_LEVELS, level):
        await client.set_log_level(other)
        assert (await client.node_info())["log_level"] == other


async def test_restoring_reads_the_file_that_is_named(client):
    for options in (None, {}, {"take_access": True, "restore_tasks": True}):
        with pytest.raises(exceptions.ThingsDBError, match=r"no_such_file\.tar\.gz|cannot restore|restore"):
            await client.restore("/no_such_file.tar.gz", options)


async def test_nodes_come_and_go(client, cluster):
    number = await client.new_node("secret", "127.0.0.1", 1)
    assert await client.has_node(number) is True
    await client.del_node(number)
    assert await client.has_node(number) is False


async def test_a_node_shuts_down(connect, cluster):
    node = cluster.nodes[1]
    client = await connect(node.address, auto_reconnect=False)
    await client.shutdown("@n")
    assert await node.ended() == 0
    assert not client.is_connected()
    await cluster.restart(node)
    await cluster.settled()


def test_every_short_name_is_called_here():
    source = Path(__file__).read_text()
    names = {name for name in vars(Admin) if not name.startswith("_")} - {"query"}
    assert {name for name in names if f"client.{name}(" not in source} == set()
