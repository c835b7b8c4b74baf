"""Locks that programs share, with python-thingsdb's module and with ours, whichever has set them up."""

import asyncio

import pytest
import thingsdb.client
import thingsdb.misc.lock

from tdbwatch.compat.misc import lock as ours

from .waiting import until

pytestmark = pytest.mark.real
theirs = thingsdb.misc.lock


@pytest.fixture
async def clients(target, watcher):
    """Our client and python-thingsdb's, of the same node."""
    other = thingsdb.client.Client()
    host, _, port = watcher.connection_info().rpartition(":")
    await other.connect_pool([(host, int(port))], *target.auth)
    yield watcher, other
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


async def test_programs_of_both_kinds_hold_a_lock_one_after_the_other(clients, scope):
    mine, other = clients
    holding, most, done = 0, 0, []

    async def hold(module, client, number):
        nonlocal holding, most
        async with module.lock(client, "nightly", scope=scope):
            holding += 1
            most = max(most, holding)
            await asyncio.sleep(0.02)
            holding -= 1
            done.append(number)

    works = [hold(ours, mine, n) if n % 2 else hold(theirs, other, n) for n in range(8)]
    async with asyncio.timeout(60):
        await asyncio.gather(*works)
    assert sorted(done) == list(range(8))
    assert most == 1
    assert await ours.locked(mine, "nightly", scope=scope) is False
    assert await theirs.locked(other, "nightly", scope=scope) is False


async def test_a_lock_whose_holder_goes_away_gets_free_after_its_timeout(clients, scope):
    mine, _ = clients
    await mine.run("acquire", "nightly", 2, scope=scope)
    async with asyncio.timeout(60):
        async with ours.lock(mine, "nightly", scope=scope, timeout=30):
            assert await ours.locked(mine, "nightly", scope=scope) is True

    async def is_free():
        return not await ours.locked(mine, "nightly", scope=scope)

    await until(is_free, "the lock to be free", 10)
