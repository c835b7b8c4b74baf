"""A node in trouble is tried also while others are enough, so that what is said of it stays true."""

import pytest

from tdbwatch.client import Observer
from tdbwatch.exceptions import AuthError
from tdbwatch.wire import Kind


class Told(Observer):
    def __init__(self):
        self.said = []

    def unreachable(self, address, reason, wait):
        self.said.append("unreachable")

    def refused(self, address, reason, wait, *, by_all):
        self.said.append("refused")

    def recovered(self, address):
        self.said.append(f"recovered {address}")


@pytest.fixture
async def watching(new_client, pair, where):
    """A client with one link, what its observer is told, the node in use and the other one."""
    told = Told()
    client = new_client(observer=told, check_spares=True)
    await client.connect_pool([node.address for node in pair.nodes], "admin", "pass")
    return client, told, *where(client, pair)


async def test_a_node_that_went_is_called_well_once_it_is_back_though_it_is_not_needed(
    watching, clock, until, pass_time
):
    client, told, used, other = watching
    await used.stop()
    await until(lambda: client.is_connected() and client.connection_info() == other.address, clock)
    await pass_time(clock, 40)
    assert set(told.said) == {"unreachable"}
    await used.start()
    await until(lambda: f"recovered {used.address}" in told.said, clock)
    assert client.connection_info() == other.address
    said = len(told.said)
    await pass_time(clock, 60)
    assert len(told.said) == said, "one that is well is left alone"


async def test_a_node_that_refuses_is_called_well_once_it_takes_the_login(watching, clock, until, pass_time):
    client, told, used, other = watching
    used.faults.refuse(Kind.AUTH, error=AuthError("invalid token"))
    used.faults.close_connections()
    await until(lambda: client.is_connected() and client.connection_info() == other.address, clock)
    await pass_time(clock, 40)
    assert "refused" in told.said
    used.faults.clear()
    await until(lambda: f"recovered {used.address}" in told.said, clock)


async def test_it_ends_with_the_client(watching, clock, until, pass_time):
    client, told, used, other = watching
    await used.stop()
    await until(lambda: client.is_connected() and client.connection_info() == other.address, clock)
    await client.close_and_wait()
    await used.start()
    await pass_time(clock, 40)
    assert not [said for said in told.said if said.startswith("recovered")]
