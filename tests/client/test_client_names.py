"""Whatever a subclass of `Client` calls its own does not matter, apart from python-thingsdb's names."""

import pytest
import thingsdb.client

from tdbwatch.client import Client
from tdbwatch.client.asking import Asking
from tdbwatch.client.core import Core
from tdbwatch.room import Room

from .conftest import addresses

THEIRS = {name for name in dir(thingsdb.client.Client) if not name.startswith("_")}
"""A program for python-thingsdb leaves these alone, or overrides them as meant."""
NAMES = sorted(
    name
    for name in {
        *(name for cls in (Client, Asking, Core) for name in dir(cls)),
        *(name for cls in (Client, Asking, Core) for name in cls.__init__.__code__.co_names),
        *("_settings", "_nodes", "_outbox", "_fleet", "_ready", "settings", "session", "rooms", "nodes"),
    }
    if not name.startswith("__") and name not in THEIRS
)
OWN = object()


def before():
    class Sub(Client):
        def __init__(self, **options):
            vars(self).update(dict.fromkeys(NAMES, OWN))
            super().__init__(**options)

    return Sub


def after():
    class Sub(Client):
        def __init__(self, **options):
            super().__init__(**options)
            vars(self).update(dict.fromkeys(NAMES, OWN))

    return Sub


def in_class():
    return type("Sub", (Client,), dict.fromkeys(NAMES, OWN))


def methods():
    def own(self):
        raise AssertionError("it is nobody's to call")

    return type("Sub", (Client,), dict.fromkeys(NAMES, own))


def raising_properties():
    return type("Sub", (Client,), dict.fromkeys(NAMES, property(lambda self: 1 / 0)))


class Chat(Room):
    def on_init(self):
        self.heard = []

    async def on_join(self):
        self.heard.append(await self.client.query("echo;", n=1))

    def on_emit(self, event, *args):
        self.heard.append((event, *args))


@pytest.mark.parametrize("way", [before, after, in_class, methods, raising_properties])
async def test_no_name_of_a_subclass_matters(way, cluster, clock, until):
    cluster.on_procedure("answer", lambda: 42)
    cluster.on_query("has_user(arg0);", True)
    client = way()(clock=clock)
    client.set_default_scope("//stuff")
    await client.connect_pool(addresses(cluster), "admin", "pass")
    room = Chat("alerts")
    await room.join(client)
    await room.emit("said", 1)
    await until(lambda: room.heard == [{"n": 1}, ("said", 1)])
    await client.reconnect()
    await until(lambda: room.heard[2:] == [{"n": 1}] and client.is_connected())
    assert (await client.run("answer"), await client.has_user("ann")) == (42, True)
    assert client.get_rooms() == (room,)
    await room.leave()
    await client.close_and_wait()
    await client.connect(*cluster.nodes[0].address.split(":"))
    await client.authenticate("admin", "pass")
    assert await client.query("echo;", n=2) == {"n": 2}
    client.close()
    await client.wait_closed()
    if way in {before, after, in_class}:
        assert [name for name in NAMES if getattr(client, name) is not OWN] == []


async def test_one_method_of_a_subclass_may_call_another_one_of_client(cluster, clock, until):
    class Sub(Client):
        async def close(self):
            await super().close_and_wait()

        def is_connected(self):
            return "perhaps"

    client = Sub(clock=clock)
    await client.connect_pool(addresses(cluster), "admin", "pass")
    await client.close()
    await until(lambda: cluster.nodes[0].connections == 0)
    await client.connect_pool(addresses(cluster), "admin", "pass")
    await client.close()


def test_one_name_alone_is_reserved():
    assert set(vars(Client())) == {"__tdbwatch__"}
