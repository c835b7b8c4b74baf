"""Closing needs no running loop: a stopped one does the rest when it runs again, a closed one cannot."""

import asyncio
import gc
import random
import threading
import warnings

import pytest

from tdbwatch.client.addresses import parse_address
from tdbwatch.client.links.fleet import Fleet
from tdbwatch.client.links.settings import Settings
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.node import Cluster


class Node:
    """An embedded node in a thread and a loop of its own."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.cluster = self.run(self._start())
        return self

    async def _start(self):
        cluster = Cluster(1)
        cluster.add_room("//stuff", "alerts")
        return await cluster.__aenter__()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def __exit__(self, *error):
        self.run(self.cluster.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()

    @property
    def node(self):
        return self.cluster.nodes[0]


class Listener:
    def __getattr__(self, name):
        return lambda *args: None


@pytest.fixture
def node():
    with Node() as node:
        yield node


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        assert asyncio.all_tasks(loop) == set()
        loop.close()


@pytest.fixture
def fleet():
    """Made where no loop runs."""
    return Fleet(Settings(auth=("admin", "pass"), rng=random.Random(1)), 1, True, lambda: None)


async def started(fleet, node):
    await fleet.start([parse_address(node.node.address)], insist=True)
    await fleet.subscribe(Subscription("alerts", "//stuff", Listener()))


def test_a_fleet_is_closed_while_its_loop_stands_still_and_the_loop_does_the_rest_later(fleet, node, loop):
    loop.run_until_complete(started(fleet, node))
    (link,) = fleet.links()
    fleet.close()
    assert fleet.links() == []
    assert not link.is_live
    loop.run_until_complete(fleet.wait_closed())
    assert link.closed.done()


def test_a_fleet_that_is_connecting_is_closed_while_its_loop_stands_still(fleet, node, loop):
    async def begin():
        ready = fleet.start([parse_address(node.node.address)], insist=True)
        async with asyncio.timeout(20):
            while not node.node.connections:
                await asyncio.sleep(0)
        return ready

    node.loop.call_soon_threadsafe(node.node.faults.freeze)
    ready = loop.run_until_complete(begin())
    fleet.close()
    loop.run_until_complete(fleet.wait_closed())
    assert isinstance(ready.exception(), ConnectionAbortedError)


def test_a_fleet_whose_loop_is_closed_is_closed_without_a_word_and_starts_on_another_loop(fleet, node, loop):
    with asyncio.Runner() as runner:  # it cancels what still runs
        runner.run(started(fleet, node))
    fleet.close()
    assert fleet.links() == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the first loop's socket, as of any such loop
        gc.collect()
    loop.run_until_complete(started(fleet, node))
    assert len(fleet.links()) == 1
    fleet.close()
    loop.run_until_complete(fleet.wait_closed())
