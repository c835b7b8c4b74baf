"""Locks that programs share, with python-thingsdb's module and with ours, whichever has set them up."""

import asyncio
import secrets

import pytest
import thingsdb.client
import thingsdb.misc.lock

from tdbwatch.client import Client
from tdbwatch.compat.misc import lock as ours

from .waiting import until

pytestmark = pytest.mark.real
theirs = thingsdb.misc.lock


@pytest.fixture
async def clients(lone):
    """Our client and python-thingsdb's, of a node that is never away.

    In a cluster python-thingsdb's lock fails now and then: a node that is away has another one make the
    room, and joins by itself, perhaps before it knows the room.
    """
    mine, other = Client(), thingsdb.client.Client()
    host, _, port = lone.nodes[0].address.rpartition(":")
    await mine.connect_pool([(host, int(port))], *lone.auth)
    await other.connect_pool([(host, int(port))], *lone.auth)
    yield mine, other
    await mine.close_and_wait()
    other.close()  # (its close_and_wait() connects again)
    await other.wait_closed()


@pytest.fixture(params=["ours", "theirs"])
async def scope(request, clients):
    """A collection for locks that one of the two modules has set up."""
    name = f"locks_{request.param}"
    mine, other = clients
    await (ours.setup(mine, name) if request.param == "ours" else theirs.setup(other, name))
    await (ours.setup(mine, name) if request.param == "theirs" else theirs.setup(other, name))
    yield f"//{name}"
    await mine.del_collection(name)


@pytest.fixture
async def wide_scope(watcher, new_room):
    """A collection for locks that every node of the cluster knows."""
    name = f"locks_{secrets.token_hex(4)}"
    await ours.setup(watcher, name)
    await new_room(watcher, scope=f"//{name}")
    yield f"//{name}"
    await watcher.del_collection(name)


class Holders:
    """Those who hold a lock for a moment, and how many did so at once."""

    def __init__(self, scope):
        self.scope = scope
        self.now = self.most = 0
        self.done = []

    async def hold(self, module, client, number):
        async with module.lock(client, "nightly", scope=self.scope):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.02)
            self.now -= 1
            self.done.append(number)


async def test_programs_of_both_kinds_hold_a_lock_one_after_the_other(clients, scope):
    mine, other = clients
    holders = Holders(scope)
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(holders.hold(ours, mine, n) if n % 2 else holders.hold(theirs, other, n) for n in range(8))
        )
    assert sorted(holders.done) == list(range(8))
    assert holders.most == 1
    assert await ours.locked(mine, "nightly", scope=scope) is False
    assert await theirs.locked(other, "nightly", scope=scope) is False


async def test_programs_at_several_nodes_hold_a_lock_one_after_the_other(watcher, emitter, wide_scope):
    holders = Holders(wide_scope)
    async with asyncio.timeout(120):
        await asyncio.gather(*(holders.hold(ours, (watcher, emitter)[n % 2], n) for n in range(8)))
    assert sorted(holders.done) == list(range(8))
    assert holders.most == 1


async def test_a_lock_whose_holder_goes_away_gets_free_after_its_timeout(watcher, wide_scope):
    await watcher.run("acquire", "nightly", 2, scope=wide_scope)
    async with asyncio.timeout(60):
        async with ours.lock(watcher, "nightly", scope=wide_scope, timeout=30):
            assert await ours.locked(watcher, "nightly", scope=wide_scope) is True

    async def is_free():
        return not await ours.locked(watcher, "nightly", scope=wide_scope)

    await until(is_free, "the lock to be free", 10)
