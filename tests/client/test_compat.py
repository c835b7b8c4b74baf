"""Programs for python-thingsdb switch by a change of their imports."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tdbwatch.client
import tdbwatch.compat
import tdbwatch.exceptions
import tdbwatch.room
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.compat.client.baseprotocol import Err, Proto
from tdbwatch.compat.misc.lock import lock, locked, setup
from tdbwatch.compat.util import Access, cnscope, fcscope, is_name, strip_code
from tdbwatch.wire import Kind

DOCUMENT = Path(__file__).parents[2] / "docs" / "connector.md"

PROGRAM = """
from types import SimpleNamespace

import thingsdb.client
import thingsdb.exceptions as errors
from thingsdb import exceptions
from thingsdb.client import Client, set_package_fail_file
from thingsdb.exceptions import LookupError, ThingsDBError
from thingsdb.misc import lock
from thingsdb.misc.lock import lock as take, locked, setup
from thingsdb.room import Room, event
from thingsdb.util import Access, cnscope, strip_code
from thingsdb.client.client import Client as deep_client
from thingsdb.client.package import set_package_fail_file as deep_file
from thingsdb.client.protocol import Proto
from thingsdb.room.event import event as deep_event
from thingsdb.room.room import Room as deep_room
from thingsdb.room.roombase import RoomBase
from thingsdb.util.access import Access as deep_access
from thingsdb.util.cleancode import strip_code as deep_code
from thingsdb.util.cnscope import cnscope as deep_scope
from thingsdb.util.fcscope import fcscope
from thingsdb.util.is_name import is_name
from thingsdb.version import __version__

host = "thingsdb.example.org"
mine = SimpleNamespace(thingsdb=SimpleNamespace(client="untouched"))
assert mine.thingsdb.client == "untouched"
assert thingsdb.client.Client is Client
assert errors is exceptions and errors.LookupError is LookupError
assert lock.lock is take
assert (deep_client, deep_room, deep_event, deep_file) == (Client, Room, event, set_package_fail_file)
assert (deep_access, deep_code, deep_scope) == (Access, strip_code, cnscope)
assert issubclass(Room, RoomBase) and is_name("a") and fcscope("//a") and Proto.REQ_RUN and __version__
assert host.startswith("thingsdb.")
print(Client.__module__, Room.__module__, ThingsDBError.__module__)
"""


def test_the_documented_command_switches_a_program(tmp_path):
    (command,) = re.findall(r"^sed -i .*$", DOCUMENT.read_text(), re.MULTILINE)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True)
    ended = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["tdbwatch.client.client", "tdbwatch.room", "tdbwatch.exceptions"]


def test_what_has_a_place_of_its_own_is_the_same_object():
    from tdbwatch.compat import client, exceptions, room

    assert client.Client is tdbwatch.client.Client
    assert client.set_package_fail_file is tdbwatch.client.set_package_fail_file
    assert (room.Room, room.event) == (tdbwatch.room.Room, tdbwatch.room.event)
    assert exceptions.LookupError is tdbwatch.exceptions.LookupError
    assert tdbwatch.compat.__version__ == tdbwatch.__version__


@pytest.mark.parametrize(
    "scope", ["//stuff", "@:stuff", "/collection/stuff", "@collection:stuff", "/c/stuff", "@c:stuff"]
)
def test_the_name_of_a_scopes_collection(scope):
    assert cnscope(scope) == "stuff"
    assert fcscope(scope) == "@collection:stuff"


@pytest.mark.parametrize("scope", ["@t", "/node", "stuff", "", "//", "//2stuff", "//a b", "@n:stuff"])
def test_what_names_no_collection_is_an_error(scope):
    with pytest.raises(ValueError, match="no collection's scope"):
        cnscope(scope)
    with pytest.raises(ValueError, match="no collection's scope"):
        fcscope(scope)


@pytest.mark.parametrize(
    ("text", "is_one"), [("a", True), ("_1", True), ("x" * 255, True), ("x" * 256, False), ("1a", False)]
)
def test_names(text, is_one):
    assert is_name(text) is is_one


def test_privileges_are_numbers_that_add_up():
    assert Access.QUERY | Access.CHANGE | Access.GRANT | Access.JOIN | Access.RUN == Access.FULL == 31


def test_numbers_of_the_protocol_have_their_names():
    assert {member.value for member in Proto} == {kind.value for kind in Kind}
    assert {member.value for member in Err} == {code.value for code in tdbwatch.exceptions.ErrorCode}


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        ("  1;\n", "1;"),
        ("//ti\n  a;\n  b; ", "a;\n  b;"),
        ("\n  // first\n\n // second\n1;", "// second\n1;"),
        ("1; // why", "1; // why"),
        ("// only", ""),
        ("/* a */ 1;", "/* a */ 1;"),
        ("", ""),
    ],
)
def test_space_around_code_and_one_comment_before_it_are_not_sent(code, sent):
    assert strip_code(code) == sent


# -- locks ---------------------------------------------------------------------------------------------------


class Lines:
    """The procedures of a collection for locks, as `setup` makes them, on the embedded node."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.waiting = []
        cluster.add_collection("lock")
        cluster.on_procedure("acquire", self.acquire)
        cluster.on_procedure("release", self.release)
        cluster.on_procedure("test", lambda room_id: self.waiting[0] == room_id)
        cluster.on_procedure("locked", lambda name: bool(self.waiting))

    def acquire(self, name, timeout):
        ahead = len(self.waiting)
        self.waiting.append(self.cluster.add_room("//lock"))
        return [not ahead, self.waiting[-1], ahead]

    def release(self, name, room_id):
        if room_id not in self.waiting:
            return
        first = self.waiting[0] == room_id
        self.waiting.remove(room_id)
        if first and self.waiting:
            self.cluster.emit("//lock", self.waiting[0], "go")
        self.cluster.delete_room("//lock", room_id)


@pytest.fixture
def lines(cluster):
    return Lines(cluster)


async def test_a_lock_that_is_free_is_held_at_once_and_let_go_at_the_end(connect, cluster, lines):
    client = await connect(cluster)
    async with lock(client, "nightly") as lock_id:
        assert lines.waiting == [lock_id]
        assert await locked(client, "nightly") is True
    assert await locked(client, "nightly") is False


async def test_those_who_wait_for_a_lock_get_it_one_after_the_other(connect, cluster, lines, until):
    client, other = await connect(cluster), await connect(cluster)
    holding, at_once = [], []

    async def hold(client, number):
        async with lock(client, "nightly"):
            holding.append(number)
            at_once.append(len(lines.waiting))
            await asyncio.sleep(0)

    async with lock(client, "nightly"):
        tasks = []
        for number in range(6):
            tasks.append(asyncio.create_task(hold((client, other)[number % 2], number)))
            await until(lambda n=number: len(lines.waiting) == n + 2)
        assert holding == []
    await asyncio.gather(*tasks)
    assert holding == list(range(6))
    assert lines.waiting == []


async def test_who_is_let_go_while_waiting_leaves_the_line(connect, cluster, lines, until):
    client = await connect(cluster)

    async def hold():
        async with lock(client, "nightly"):
            pytest.fail("it was not free")

    async with lock(client, "nightly"):
        task = asyncio.create_task(hold())
        await until(client.get_rooms)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert len(lines.waiting) == 1


async def test_who_misses_the_turn_does_not_believe_to_hold_the_lock(connect, cluster, lines, until):
    client = await connect(cluster)

    async def hold():
        async with lock(client, "nightly"):
            pytest.fail("the turn went by")

    async with lock(client, "nightly"):
        task = asyncio.create_task(hold())
        await until(lambda: client.get_rooms() and client.get_rooms()[0].status is RoomStatus.JOINED)
        lines.release("nightly", lines.waiting[1])  # as the server does after the timeout
        with pytest.raises(TimeoutError, match="before this client heard of its turn"):
            await task


async def test_a_turn_that_comes_while_the_client_is_away_is_found_when_it_is_back(
    connect, cluster, lines, until, clock
):
    client, other = await connect(cluster), await connect(cluster)

    async def hold():
        async with lock(client, "nightly"):
            return "held"

    async with lock(other, "nightly"):
        task = asyncio.create_task(hold())
        await until(lambda: client.get_rooms() and client.get_rooms()[0].status is RoomStatus.JOINED)
        cluster.nodes[0].faults.close_connections()
        await until(lambda: not client.is_connected())
        await until(other.is_connected, clock)
    await until(task.done, clock)
    assert task.result() == "held"


async def test_a_node_that_hears_late_of_a_turn_is_asked_again(connect, cluster, lines, until, clock):
    client, other = await connect(cluster), await connect(cluster)
    cluster.nodes[0].faults.refuse(Kind.JOIN, 2, tdbwatch.exceptions.LookupError("not here yet"))

    async def hold():
        async with lock(client, "nightly"):
            return "held"

    async with lock(other, "nightly"):
        task = asyncio.create_task(hold())
        await until(lambda: cluster.executed[Kind.JOIN] == 1, clock)
    await until(task.done, clock)
    assert task.result() == "held"
    assert lines.waiting == []


async def test_a_turn_that_no_node_knows_is_an_error_and_leaves_the_line(
    connect, cluster, lines, until, clock
):
    client, other = await connect(cluster), await connect(cluster)
    cluster.nodes[0].faults.refuse(Kind.JOIN, error=tdbwatch.exceptions.LookupError("not here"))

    async def hold():
        async with lock(client, "nightly"):
            pytest.fail("it was not free")

    async with lock(other, "nightly"):
        task = asyncio.create_task(hold())
        await until(task.done, clock)
        with pytest.raises(LookupError, match="not here"):
            await task
        assert len(lines.waiting) == 1


async def test_a_node_that_hears_late_of_the_collection_for_locks_is_asked_again(
    connect, cluster, until, clock
):
    asked = []

    def set_up(scope, code, names):
        asked.append(scope)
        if len(asked) < 3:
            raise tdbwatch.exceptions.LookupError("not here yet")

    cluster.on_query("has_collection(arg0);", False)
    cluster.on_query("new_collection(arg0);", lambda scope, code, names: cluster.add_collection("locks"))
    cluster.on_query(re.compile(r"(?s).*new_procedure\('acquire'.*"), set_up)
    task = asyncio.create_task(setup(await connect(cluster), "locks"))
    await until(task.done, clock)
    await task
    assert asked == ["//locks"] * 3


async def test_the_collection_for_locks_is_made_once(connect, cluster):
    there = []

    def made(scope, code, names):
        there.append(names["arg0"])
        cluster.add_collection(names["arg0"])

    cluster.on_query("has_collection(arg0);", lambda *_: bool(there))
    cluster.on_query("new_collection(arg0);", made)
    cluster.on_query(re.compile(r"(?s).*new_procedure\('acquire'.*"), lambda scope, *_: there.append(scope))
    client = await connect(cluster)
    for _ in range(2):
        await setup(client, "locks")
        assert there == ["locks", "//locks"]
