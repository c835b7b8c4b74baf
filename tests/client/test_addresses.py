"""Addresses of nodes, as users write them."""

import asyncio

import pytest

from tdbwatch.client.addresses import Address, parse_address
from tdbwatch.client.transports.websocket import WebSocketWire


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
        (("node01", 9201.0), Address("tcp", "node01", 9201)),
    ],
)
def test_a_host_beside_a_port_may_name_its_own(value: tuple[str, int], expected: Address) -> None:
    assert parse_address(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("::1", Address("tcp", "::1")),
        ("[::1]", Address("tcp", "::1")),
        ("[::1]:9201", Address("tcp", "::1", 9201)),
        ("2001:db8::9201", Address("tcp", "2001:db8::9201")),
        ("::ffff:10.0.0.1", Address("tcp", "::ffff:10.0.0.1")),
        ("fe80::1%eth0", Address("tcp", "fe80::1%eth0")),
        ("fe80::1%br-lan.100", Address("tcp", "fe80::1%br-lan.100")),
        ("[fe80::1%Wi-Fi_2]:9201", Address("tcp", "fe80::1%Wi-Fi_2", 9201)),
        ("ws://[::1]", Address("ws", "::1", 9270)),
        ("ws://[fe80::1%25eth0]:9271/x", Address("ws", "fe80::1%eth0", 9271, "/x")),
    ],
)
def test_an_ipv6_address_needs_brackets_only_before_a_port_and_may_name_a_zone(
    value: str, expected: Address
) -> None:
    assert parse_address(value) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "value", ["::1:9200", "1:2:3:4:5:6:7:8:9200", "a:b:c", "fe80::1%", "[abc]", "[1.2.3.4]:1"]
)
@pytest.mark.parametrize("pair", [False, True])
def test_what_is_no_ipv6_address_or_has_a_port_without_brackets_is_refused(value: str, pair: bool) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address((value, 9200) if pair else value)
    assert "is not a host's IPv6 address; where a port follows, write brackets" in str(caught.value)


async def test_a_zone_says_where_we_are_and_is_not_told_to_the_node() -> None:
    assert parse_address("fe80::1%eth0").peer == "fe80::1"
    wire = WebSocketWire(parse_address("ws://[fe80::1%25eth0]"), receiver=None)  # type: ignore[arg-type]
    assert wire._protocol.connect().headers["Host"] == "[fe80::1]:9270"


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
        (("node01", 9200.5), "9200.5 is not a port"),
        (("node01", 0.0), "0 is not a port"),
        (("node01", float("inf")), "inf is not a port"),
        (("node01", float("nan")), "nan is not a port"),
    ],
)
def test_a_port_that_is_none_or_not_the_same_is_refused(value: tuple[str, int], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "admin:topsecret@127.0.0.1:9200",
        "admin:topsecret@db1",
        "topsecret@db1",
        "admin:top:secret@[::1]:9200",
        "[admin:topsecret@db1]",
        "ws://admin:topsecret@db1",
        "ws://admin:top/secret@db1",
        "wss://admin:12/topsecret@db1:9270",
        "tcp://admin:topsecret@db1",
        "unix://admin:topsecret@/run/socket",
        "admin:topsecret@unix:///run/socket",
        ("admin:topsecret@db1", 9200),
        ("ws://admin:topsecret@db1", 9200),
        ("admin:topsecret@db1", "port"),
    ],
)
async def test_a_login_in_an_address_is_refused_and_never_shown(new_client, value) -> None:
    message = "a node's address must hold no user or password; write them under auth"
    connecting = new_client().connect(*value) if isinstance(value, tuple) else new_client().connect(value)
    for refused in (connecting, asyncio.to_thread(parse_address, value)):
        with pytest.raises(ValueError) as caught:
            await refused
        assert str(caught.value) == message
    with pytest.raises(ValueError) as caught:
        new_client().connect_pool([value], "token")
    assert str(caught.value) == message


def test_what_is_neither_text_nor_a_pair_is_not_shown_since_a_login_may_be_in_it() -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(("db1", "admin", "topsecret"))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "this tuple is not a node's address; write a string such as node01:9200, or (host, port)"
    )


@pytest.mark.parametrize("value", ["/run/a@b.sock", "unix:///run/a@b.sock"])
def test_the_path_of_a_socket_may_hold_an_at(value: str) -> None:
    assert parse_address(value) == Address("unix", port=0, path="/run/a@b.sock")


async def test_connect_takes_a_host_that_names_its_own_port(new_client, cluster) -> None:
    client = new_client()
    await client.connect(cluster.nodes[0].address)
    assert client.connection_info() == cluster.nodes[0].address
