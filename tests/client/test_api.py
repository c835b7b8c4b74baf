"""The API is what the documentation says, and what programs for python-thingsdb expect."""

import asyncio
import builtins
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import tdbwatch.client
import tdbwatch.exceptions
import tdbwatch.room

DOCUMENT = Path(__file__).parents[2] / "docs" / "connector.md"
MODULES = {module.__name__: module for module in (tdbwatch.client, tdbwatch.room, tdbwatch.exceptions)}


def rows(heading):
    """The cells of the table under a heading."""
    text = DOCUMENT.read_text().split(f"### `{heading}`", 1)[1].split("\n## ")[0].split("\n### ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `") or re.match(r"\| -\d", line)
    ]


def signature(thing):
    """As the document writes it: no types, no self, objects as `...`."""
    if hasattr(type(thing), "__get__") and not callable(thing):
        return "property"
    if isinstance(thing, int | float):
        return repr(thing)
    written = []
    for parameter in inspect.signature(thing).parameters.values():
        default = parameter.default
        if parameter.name == "self":
            continue
        if default is not inspect.Parameter.empty and not isinstance(default, int | float | str | None):
            default = type("Dots", (), {"__repr__": lambda self: "..."})()
        written.append(parameter.replace(annotation=inspect.Parameter.empty, default=default))
    text = str(inspect.Signature(written))
    return f"async {text}" if inspect.iscoroutinefunction(thing) else text


def find(module, name):
    thing = module
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part)
    return thing


DOCUMENTED = [
    (heading, name.strip("`"), what.strip("`"))
    for heading in ("tdbwatch.client", "tdbwatch.room")
    for name, what in rows(heading)
]


@pytest.mark.parametrize(("module", "name", "what"), DOCUMENTED, ids=[row[1] for row in DOCUMENTED])
def test_the_documented_signature_is_the_codes(module, name, what):
    assert signature(find(MODULES[module], name)) == what


@pytest.mark.parametrize("owner", [tdbwatch.client.Client, tdbwatch.room.Room])
def test_the_types_of_every_public_method_can_be_found_at_run_time(owner):
    """As what injects dependencies, checks arguments or writes documentation finds them."""
    for name, found in inspect.getmembers_static(owner):
        thing = getattr(found, "fget", getattr(found, "__func__", found))
        if inspect.isfunction(thing) and (name == "__init__" or not name.startswith("_")):
            assert isinstance(typing.get_type_hints(thing), dict), name
    assert typing.get_type_hints(tdbwatch.room.Room.join)["client"] is tdbwatch.client.Client
    assert typing.get_type_hints(tdbwatch.client.Client.get_rooms)["return"] == tuple[tdbwatch.room.Room, ...]


@pytest.mark.parametrize("first", ["tdbwatch.client", "tdbwatch.room", "tdbwatch.client.client"])
def test_either_module_may_be_imported_first(first):
    subprocess.run([sys.executable, "-c", f"import {first}"], check=True)


ADMINISTRATION = {name for name in vars(tdbwatch.client.admin.Admin) if not name.startswith("_")}
OWN = {"links", "in_use", "subscribe", "unsubscribe", "discard", "forget", "check_open"} | {
    "set_heartbeat",
    "use_nodes",
}
"""What the daemon uses: not for programs, and not documented."""


@pytest.mark.parametrize("owner", [tdbwatch.client.Client, tdbwatch.room.Room])
def test_every_public_name_is_documented(owner):
    public = {name for name in dir(owner) if not name.startswith("_")} - OWN
    public -= ADMINISTRATION - {"query"} if owner is tdbwatch.client.Client else set()
    documented = {name.split(".")[1] for _, name, _ in DOCUMENTED if name.startswith(f"{owner.__name__}.")}
    assert public == documented


EXPECTED = {
    "Client": "(auto_reconnect=True, ssl=None, loop=None",
    "Client.connect": "async (host, port=9200, timeout=10)",
    "Client.connect_pool": "(pool, *auth)",
    "Client.authenticate": "async (*auth, timeout=10)",
    "Client.query": "(code, scope=None, timeout=None",
    "Client.run": "(procedure, *args, scope=None, timeout=None, **kwargs)",
    "Client.reconnect": "()",
    **{f"Client.{name}": "()" for name in ("close", "is_connected", "is_websocket", "connection_info")},
    **{f"Client.{name}": "()" for name in ("get_default_scope", "get_event_loop", "get_rooms")},
    **{f"Client.{name}": "async ()" for name in ("wait_closed", "close_and_wait")},
    "Client.set_default_scope": "(scope)",
    "Room": "(room, scope=None",
    "Room.join": "async (client, wait=60.0",
    "Room.leave": "async ()",
    "Room.emit": "async (event, *args, peers_only=False)",
    "Room.no_join": "async (client)",
    "Room.on_join": "async ()",
    **{f"Room.{name}": "()" for name in ("on_init", "on_leave", "on_delete")},
    "Room.on_emit": "(event, *args)",
    **{f"Room.{name}": "property" for name in ("id", "scope", "client")},
    "event": "(event)",
    "Room.event": "(event)",
    "set_package_fail_file": "(fn='')",
}


@pytest.mark.parametrize(("name", "what"), EXPECTED.items(), ids=EXPECTED)
def test_programs_for_python_thingsdb_find_what_they_call(name, what):
    module = tdbwatch.room if name.startswith(("Room", "event")) else tdbwatch.client
    assert signature(find(module, name)).startswith(what)


async def test_the_default_scope_is_at_first_thingsdbs_own_and_must_be_a_scope(new_client):
    client = new_client()
    assert client.get_default_scope() == "@t"
    client.set_default_scope("//stuff")
    assert client.get_default_scope() == "//stuff"
    with pytest.raises(ValueError, match="no scope"):
        client.set_default_scope("stuff")
    assert client.get_event_loop() is asyncio.get_running_loop()
    assert new_client(loop=asyncio.get_running_loop()).get_event_loop() is asyncio.get_running_loop()


def test_the_table_of_errors_is_complete_and_right():
    documented = {}
    for code, name, also in (row for row in rows("tdbwatch.exceptions") if row[0].startswith("-")):
        cls = getattr(tdbwatch.exceptions, name.strip("`"))
        error = tdbwatch.exceptions.from_wire({"error_code": int(code), "error_msg": "m"})
        assert type(error) is cls
        assert built_in(cls) == ({getattr(builtins, also.strip("`"))} if also else set())
        assert not isinstance(error, OSError)
        documented[int(code)] = cls
    assert set(documented) == {int(code) for code in tdbwatch.exceptions.ErrorCode}


def built_in(cls):
    return {base for base in cls.__bases__ if base.__module__ == "builtins"} - {Exception}


@pytest.mark.parametrize(
    "name", ["NotConnectedError", "ConnectionLostError", "EncodeError", "TextEncodeError", "ProtocolError"]
)
def test_errors_of_the_way_are_documented_with_what_they_are(name):
    (row,) = [row for row in rows("tdbwatch.exceptions") if row[0] == f"`{name}`"]
    cls = getattr(tdbwatch.exceptions, name)
    assert built_in(cls) == {getattr(builtins, name) for name in re.findall(r"`(\w+)`", row[1])}
    assert not issubclass(cls, tdbwatch.exceptions.ThingsDBError)
