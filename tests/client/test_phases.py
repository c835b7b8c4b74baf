"""What a link and a keeper may do next is a table; nothing else can happen to them."""

import asyncio
import itertools

import pytest

from tdbwatch.client.addresses import Address
from tdbwatch.client.links import keeper, link
from tdbwatch.client.links.heartbeat import Heartbeat
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.phases import IllegalTransitionError, Phases
from tdbwatch.clock import SYSTEM_CLOCK

TABLES = {"link": (link.Phase, link.TRANSITIONS), "keeper": (keeper.Phase, keeper.TRANSITIONS)}


@pytest.mark.parametrize("of", TABLES)
def test_a_step_that_the_table_does_not_have_raises_and_changes_nothing(of):
    phases, table = TABLES[of]
    assert set(table) == set(phases)
    for now, following in itertools.product(phases, phases):
        machine = Phases(table, now)
        if following in table[now]:
            machine.go(following)
            assert machine.now is following
        else:
            with pytest.raises(IllegalTransitionError, match=f"{following} cannot follow {now}"):
                machine.go(following)
            assert machine.now is now


@pytest.mark.parametrize("of", TABLES)
def test_every_phase_can_be_reached_and_only_closed_is_the_end(of):
    phases, table = TABLES[of]
    reached, new = set(), {next(iter(phases))}
    while new:
        reached |= new
        new = set().union(*(table[phase] for phase in new)) - reached
    assert reached == set(phases)
    assert [phase for phase in phases if not table[phase]] == [phases.CLOSED]


class Deaf:
    """An owner of a link, and its wire."""

    def __getattr__(self, name):
        return lambda *args: 0


async def test_a_link_that_is_lost_stays_lost():
    dead = Link(Address("tcp", "test"), Deaf(), SYSTEM_CLOCK, Heartbeat())
    dead._opened(Deaf())
    reason = ConnectionResetError("the first reason")
    dead.abort(reason)
    dead.abort(ConnectionResetError("another one"))
    dead.close()
    assert (dead.phase, dead.loss) == (link.Phase.LOST, reason)
    for step in (dead.retire, lambda: dead._opened(Deaf())):
        with pytest.raises(IllegalTransitionError):
            step()
    dead.connection_lost(None)
    assert dead.phase is link.Phase.CLOSED
    assert dead.closed.done()


def phase_of(client):
    ((only,),) = [group.keepers for group in client.__tdbwatch__.fleet._groups]
    return only.phase


async def test_a_keeper_serves_moves_and_connects_again(connect, pair, where, until, clock):
    client = await connect(pair)
    assert phase_of(client) is keeper.Phase.SERVING
    moving = client.reconnect()
    assert phase_of(client) is keeper.Phase.MOVING
    await moving
    assert phase_of(client) is keeper.Phase.SERVING
    for node in pair.nodes:
        node.faults.close_connections()
    await until(lambda: not client.is_connected())
    assert phase_of(client) is keeper.Phase.CONNECTING
    await until(client.is_connected, clock)


async def test_a_keeper_without_auto_reconnect_is_idle_until_it_is_told(connect, cluster, until, clock):
    client = await connect(cluster, auto_reconnect=False)
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    assert phase_of(client) is keeper.Phase.IDLE
    again = client.reconnect()  # in the same breath
    assert phase_of(client) is keeper.Phase.CONNECTING
    await until(again.done, clock)
    assert again.exception() is None


async def test_a_keeper_whose_work_is_cancelled_by_others_keeps_the_link_it_has(
    connect, pair, until, clock, where
):
    client = await connect(pair)
    used, other = where(client, pair)
    other.faults.refuse_connections = True
    moving = client.reconnect()
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "tdbwatch-keeper"]
    task.cancel()
    await until(moving.done)
    assert isinstance(moving.exception(), ConnectionAbortedError)
    assert phase_of(client) is keeper.Phase.SERVING
    used.faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
