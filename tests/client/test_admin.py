"""Every short name is one call of ThingsDB's function of that name, with its arguments as variables."""

import inspect
import re
from datetime import UTC, datetime

import pytest

from tdbwatch.client.admin import Admin

AT = datetime(2031, 2, 3, 4, 5, 6, 700_000, tzinfo=UTC)
SECONDS = int(AT.timestamp())
NAMES = [name for name in vars(Admin) if not name.startswith("_") and name != "query"]
NODE = [
    "node_info",
    "nodes_info",
    "counters",
    "reset_counters",
    "set_log_level",
    "shutdown",
    "restart_module",
]

CALLS = {
    "set_log_level": (("ERROR",), "(arg0)", [3]),
    "backup_info": ((4,), "(arg0)", [4]),
    "has_backup": ((4,), "(arg0)", [4]),
    "del_backup": ((4, True), "(arg0, arg1)", [4, True]),
    "new_backup": (
        ("/b/{DATE}", AT, 60, 5),
        "(arg0, datetime(arg1), arg2, arg3)",
        ["/b/{DATE}", SECONDS, 60, 5],
    ),
    "collection_info": (("c",), "(arg0)", ["c"]),
    "has_collection": (("c",), "(arg0)", ["c"]),
    "new_collection": (("c",), "(arg0)", ["c"]),
    "rename_collection": (("c", "d"), "(arg0, arg1)", ["c", "d"]),
    "del_collection": (("c",), "(arg0)", ["c"]),
    "set_time_zone": (("c", "UTC"), "(arg0, arg1)", ["c", "UTC"]),
    "user_info": (("u",), "(arg0)", ["u"]),
    "has_user": (("u",), "(arg0)", ["u"]),
    "new_user": (("u",), "(arg0)", ["u"]),
    "rename_user": (("u", "v"), "(arg0, arg1)", ["u", "v"]),
    "del_user": (("u",), "(arg0)", ["u"]),
    "set_password": (("u", "p"), "(arg0, arg1)", ["u", "p"]),
    "grant": (("@t", "u", 31), "(arg0, arg1, arg2)", ["@t", "u", 31]),
    "revoke": (("@t", "u", 31), "(arg0, arg1, arg2)", ["@t", "u", 31]),
    "new_token": (("u", AT, "what for"), "(arg0, datetime(arg1), arg2)", ["u", SECONDS, "what for"]),
    "has_token": (("t",), "(arg0)", ["t"]),
    "del_token": (("t",), "(arg0)", ["t"]),
    "new_node": (("s", "n", 9221), "(arg0, arg1, arg2)", ["s", "n", 9221]),
    "has_node": ((3,), "(arg0)", [3]),
    "del_node": ((3,), "(arg0)", [3]),
    "restore": (("f", {"take_access": True}), "(arg0, arg1)", ["f", {"take_access": True}]),
    "module_info": (("m",), "(arg0)", ["m"]),
    "has_module": (("m",), "(arg0)", ["m"]),
    "new_module": (("m", "src", {"a": 1}), "(arg0, arg1, arg2)", ["m", "src", {"a": 1}]),
    "deploy_module": (("m", b"\x00"), "(arg0, arg1)", ["m", b"\x00"]),
    "refresh_module": (("m",), "(arg0)", ["m"]),
    "restart_module": (("m",), "(arg0)", ["m"]),
    "rename_module": (("m", "n"), "(arg0, arg1)", ["m", "n"]),
    "set_module_conf": (("m", {"a": 1}), "(arg0, arg1)", ["m", {"a": 1}]),
    "set_module_scope": (("m", "//c"), "(arg0, arg1)", ["m", "//c"]),
    "del_module": (("m",), "(arg0)", ["m"]),
}
"""Name -> its arguments, and how they are sent. What is not here takes none."""


@pytest.fixture
async def asked(connect, cluster):
    """A client; what its last query was: scope, code, variables."""
    cluster.on_query(re.compile(r"(?s).*"), "so it is")
    client = await connect(cluster)
    return client, lambda: cluster.log[-1].body


@pytest.mark.parametrize("name", NAMES)
async def test_a_short_name_calls_its_function_with_all_its_arguments(asked, name):
    client, last = asked
    given, terms, sent = CALLS.get(name, ((), "()", []))
    takes = [
        p
        for p in inspect.signature(getattr(client, name)).parameters
        if p != "scope" or name == "set_module_scope"
    ]
    assert len(given) == len(takes)
    await getattr(client, name)(*given)
    scope, code, *variables = last()
    assert code == f"{name}{terms};"
    assert (variables or [{}])[0] == {f"arg{number}": value for number, value in enumerate(sent)}
    assert scope == ("@n" if name in NODE or "backup" in name else "@t")


@pytest.mark.parametrize("name", [name for name in NAMES if name in NODE or "backup" in name])
async def test_a_call_of_a_node_goes_to_the_node_that_is_named(asked, name):
    client, last = asked
    await getattr(client, name)(*CALLS.get(name, ((),))[0], scope="@node:3")
    assert last()[0] == "@node:3"


async def test_what_is_left_out_is_what_the_server_takes_by_default(asked):
    client, last = asked
    await client.new_backup("/b", repeat=None, max_files=None)
    assert list(last()[2].values()) == ["/b", None, 0, 7]
    await client.restore("/b", None)
    assert list(last()[2].values()) == ["/b", {}]
    await client.new_token("u")
    assert list(last()[2].values()) == ["u", None, ""]
    await client.user_info()
    assert last()[1:] == ["user_info();"]


async def test_a_time_without_a_zone_is_local_time(asked):
    client, last = asked
    await client.new_token("u", AT.astimezone().replace(tzinfo=None))
    assert last()[2]["arg1"] == SECONDS


async def test_an_unknown_log_level_is_refused_before_it_is_sent(asked):
    client, _ = asked
    with pytest.raises(ValueError, match="write one of DEBUG, INFO"):
        await client.set_log_level("LOUD")
