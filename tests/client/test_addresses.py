"""Addresses of nodes, as users write them."""

import pytest

from tdbwatch.client.addresses import Address, parse_address


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (("node01", 9200), Address("tcp", "node01", 9200)),
        (("node01", 9201), Address("tcp", "node01", 9201)),
        (("node01:9201", 9200), Address("tcp", "node01", 9201)),
        (("node01:9201", 9201), Address("tcp", "node01", 9201)),
        ((" 10.0.0.1:9201 ", 9200), Address("tcp", "10.0.0.1", 9201)),
        (("[::1]:9201", 9200), Address("tcp", "::1", 9201)),
        (("[::1]", 9201), Address("tcp", "::1", 9201)),
        (("::1", 9201), Address("tcp", "::1", 9201)),
        (("fe80::1%eth0", 9200), Address("tcp", "fe80::1%eth0", 9200)),
        (("2001:db8::9201", 9200), Address("tcp", "2001:db8::9201", 9200)),
        (("ws://node01", 9200), Address("ws", "node01", 9270)),
    ],
)
def test_a_host_beside_a_port_may_name_its_own(value: tuple[str, int], expected: Address) -> None:
    assert parse_address(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            ("node01:9201", 9202),
            "'node01:9201' names port 9201, but port 9202 is given too; leave one of them out",
        ),
        (("[::1]:9201", 9202), "names port 9201, but port 9202 is given too"),
        (("node01:", 9200), "'' is not a port; ports are numbers from 1 to 65535"),
        (("node01:http", 9200), "'http' is not a port"),
        (("node01:99999", 9200), "'99999' is not a port"),
        (("node01", 0), "0 is not a port"),
    ],
)
def test_a_port_that_is_none_or_not_the_same_is_refused(value: tuple[str, int], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(value)
    assert message in str(caught.value)


async def test_connect_takes_a_host_that_names_its_own_port(new_client, cluster) -> None:
    client = new_client()
    await client.connect(cluster.nodes[0].address)
    assert client.connection_info() == cluster.nodes[0].address
