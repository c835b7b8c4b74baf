"""The node in use goes away, in three ways, and a client with one connection hears again on another one."""

import asyncio
import signal

import pytest

from .waiting import until

pytestmark = pytest.mark.real

CALM = 100
"""Events emitted before the fault, and after it is over."""


@pytest.mark.parametrize("fault", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP], ids=lambda s: s.name)
async def test_events_flow_again_after_the_node_in_use_gets(
    fault, cluster, watcher, emitter, new_room, hear, figure
):
    room = await new_room(watcher)
    ears = await hear(watcher, room.name, room.scope)
    used = cluster.by_address(watcher.connection_info())
    assert used.address != emitter.connection_info()

    before = await emit(emitter, room, 0, CALM)
    await until(lambda: len(ears.heard) == CALM, "the events before the fault")
    used.signal(fault)
    meanwhile = await emit_until_heard_elsewhere(emitter, room, CALM, watcher, used, ears)
    if fault == signal.SIGTERM:
        assert await used.ended() == 0
    start = meanwhile[-1] + 1
    after = await emit(emitter, room, start, start + CALM)
    await until(lambda: ("tick", after[-1]) in ears.heard, "the last event")

    heard = [n for _, n in ears.heard]
    once = list(dict.fromkeys(heard))
    assert once == sorted(once)
    assert set(before) | set(after) <= set(once)
    doubled = len(heard) - len(once)
    if fault == signal.SIGTERM:
        assert doubled == 0  # it moves from one live connection to the next, and compares them
    arrived = len(set(meanwhile) & set(once))
    # after a sudden end the next node may repeat what it had not yet passed on when it was joined
    figure("during the switch-over", f"{arrived} of {len(meanwhile)} arrived, {doubled} doubled")


async def emit(emitter, room, start, end):
    numbers = list(range(start, end))
    for n in numbers:
        await emitter.emit(room.id, "tick", n, scope=room.scope, timeout=20)
    return numbers


async def emit_until_heard_elsewhere(emitter, room, start, watcher, used, ears, timeout=60):
    """Emit until an event that was emitted after the watcher had moved is heard."""
    numbers, first = [], None
    async with asyncio.timeout(timeout):
        while first is None or not any(n >= first for _, n in ears.heard):
            numbers += await emit(emitter, room, start + len(numbers), start + len(numbers) + 1)
            if first is None and watcher.connection_info() not in {used.address, "disconnected"}:
                first = numbers[-1] + 1
            await asyncio.sleep(0.005)
    return numbers


async def test_a_client_that_starts_while_a_node_is_down_uses_another_one(cluster, connect, scopes):
    down, *_ = cluster.nodes
    down.signal(signal.SIGKILL)
    await down.ended()

    clients = [await connect() for _ in range(4)]

    assert all(client.connection_info() != down.address for client in clients)
    assert [await client.query("1;", scope="@n") for client in clients] == [1] * 4
