"""A room that is left is heard no more, whatever the connection does meanwhile."""

import asyncio

import pytest

from tdbwatch.wire import Kind


async def test_a_room_that_is_left_is_heard_no_more_and_can_be_joined_again(
    client, emit, Ears, until, cluster
):
    ears = Ears("alerts")
    await ears.join(client)
    await ears.leave()
    assert ears.hooks == ["init", "join", "leave"]
    assert not cluster.collection("stuff").room("alerts").listeners
    emit("unheard")
    await ears.join(client)
    emit("heard")
    await until(lambda: ears.heard)
    assert ears.events == ["heard"]
    assert ears.hooks == ["init", "join", "leave", "init", "join"]


@pytest.mark.parametrize(("key", "error"), [("alerts", TypeError), (".code;", TypeError), (1, RuntimeError)])
async def test_leaving_a_room_that_was_never_joined_is_an_error(Ears, key, error):
    with pytest.raises(error):
        await Ears(key).leave()


async def test_leaving_again_changes_nothing(client, cluster, Ears):
    one, other = Ears("alerts"), Ears("alerts")
    await one.join(client)
    await other.join(client)
    await one.leave()
    await one.leave()
    assert one.hooks == ["init", "join", "leave"]
    assert cluster.collection("stuff").room("alerts").listeners


async def test_leaving_a_room_that_is_gone_is_a_lookup_error(client, cluster, Ears, until):
    ears = Ears("alerts")
    await ears.join(client)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: "delete" in ears.hooks)
    for _ in range(2):
        with pytest.raises(LookupError, match="not found"):
            await ears.leave()
    assert ears.hooks == ["init", "join", "delete"]


async def test_a_room_can_be_left_while_disconnected(client, node, Ears, until, clock, cluster):
    ears = Ears("alerts")
    await ears.join(client)
    await node.stop()
    await until(lambda: not client.is_connected())
    await ears.leave()
    assert ears.hooks[-1] == "leave"
    await node.start()
    await until(client.is_connected, clock)
    await client.query("echo;")
    assert not cluster.collection("stuff").room("alerts").listeners


async def test_a_room_that_was_never_joined_yet_can_be_left(client, node, Ears, until, clock, cluster):
    await node.stop()
    await until(lambda: not client.is_connected())
    ears = Ears("alerts")
    await ears.join(client, wait=0)
    assert client.get_rooms() == (ears,)
    await ears.leave()
    assert client.get_rooms() == ()
    await node.start()
    await until(client.is_connected, clock)
    await client.query("echo;")
    assert (ears.hooks, cluster.executed[Kind.JOIN]) == (["leave"], 0)


async def test_a_node_that_dies_while_a_room_is_left_has_left_it(client, node, Ears):
    ears = Ears("alerts")
    await ears.join(client)
    node.faults.close_on(Kind.LEAVE)
    await ears.leave()
    assert ears.hooks[-1] == "leave"


async def test_a_cancelled_leave_has_left(client, emit, Ears, node):
    ears = Ears("alerts")
    await ears.join(client)
    node.faults.freeze()
    leaving = asyncio.create_task(ears.leave())
    await asyncio.sleep(0)
    emit("too late")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    node.faults.thaw()
    await client.query("echo;")
    assert (ears.heard, client.get_rooms()) == ([], ())


async def test_leaving_a_room_whose_join_failed_is_an_error_as_in_python_thingsdb(client, Ears):
    by_id, by_name = Ears(77), Ears("nowhere")
    for ears, error in ((by_id, LookupError), (by_name, TypeError)):
        with pytest.raises(LookupError):
            await ears.join(client)
        with pytest.raises(error):
            await ears.leave()
