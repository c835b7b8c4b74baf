"""Whatever a subclass of `Room` calls its own does not matter, apart from the documented names."""

import asyncio
import functools
from abc import abstractmethod

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tdbwatch.client.rooms.backlog import Backlog
from tdbwatch.client.rooms.membership import Membership
from tdbwatch.client.rooms.place import Place
from tdbwatch.client.rooms.subscriptions import RoomListener, RoomStatus, Subscription
from tdbwatch.room import Room, event

DOCUMENTED = {"id", "scope", "client", "join", "leave", "emit", "no_join", "event"} | {
    name for name in dir(Room) if name.startswith("on_")
}
"""What python-thingsdb documents, too: a program for it leaves these alone, or overrides them as meant."""
RESERVED = "_Room__tdbwatch"
"""The one name that ours is under."""
ABC = "_abc_impl"
"""Python's own of every class that may have abstract methods."""
MACHINERY = (Room, Place, Membership, Backlog, Subscription, RoomListener)
OTHERS = {"state", "name", "future", "task", "MAX_BACKLOG", "_id", "_client", "_key", "_event_handlers"}
"""And more that programs may use, or that were in use before."""
NAMES = sorted(
    name
    for name in {
        *OTHERS,
        *(name for cls in MACHINERY for name in dir(cls)),
        *(name for cls in MACHINERY for name in cls.__init__.__code__.co_names),
    }
    if not name.startswith("__") and name not in {*DOCUMENTED, RESERVED, ABC}
)


class Plain(Room):
    """What every subclass below does, with as few names as possible."""

    def __init__(self, room):
        super().__init__(room, "//stuff")

    def on_init(self):
        self.x_seen = ["init"]

    async def on_join(self):
        self.x_seen.append("join")

    def on_leave(self):
        self.x_seen.append("leave")

    def on_delete(self):
        self.x_seen.append("delete")

    def on_emit(self, event, *args):
        self.x_seen.append((event, *args))

    @event("plain")
    def x_on_plain(self, *args):
        self.x_seen.append(("plain handler", *args))

    @event("async")
    async def x_on_async(self, *args):
        self.x_seen.append(("async handler", *args))


OWN = object()


def before(name):
    class Sub(Plain):
        def __init__(self, room):
            setattr(self, name, OWN)
            super().__init__(room)

    return Sub


def after(name):
    class Sub(Plain):
        def __init__(self, room):
            super().__init__(room)
            setattr(self, name, OWN)

    return Sub


def in_class(name):
    return type("Sub", (Plain,), {name: OWN})


def method(name):
    def own(self):
        raise AssertionError("it is nobody's to call")

    return type("Sub", (Plain,), {name: own})


def raising_property(name):
    return type("Sub", (Plain,), {name: property(lambda self: 1 / 0)})


def handler(name):
    """The handler itself is called so."""

    def own(self, *args):
        self.x_seen.append(("plain handler", *args))

    return type("Sub", (Plain,), {name: event("plain")(own)})


@pytest.mark.parametrize("way", [before, after, in_class, method, raising_property, handler])
async def test_no_name_of_a_subclass_matters(connect, cluster, until, clock, way):
    client = await connect(cluster)
    rooms = {}
    for name in NAMES:
        cluster.add_room("//stuff", f"r_{name}")
        rooms[name] = way(name)(f"r_{name}")
    await asyncio.gather(*(room.join(client) for room in rooms.values()))
    assert set(client.get_rooms()) == set(rooms.values())

    def emit_to_all(*names):
        for room in rooms:
            for each in names:
                cluster.emit("//stuff", f"r_{room}", each, 1)

    emit_to_all("plain", "async", "other")
    await check(rooms, until, "init", "join", ("plain handler", 1), ("other", 1), ("async handler", 1))
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    await check(rooms, until, "join", clock=clock)
    for room in rooms.values():
        await room.emit("plain", 2)
    await check(rooms, until, ("plain handler", 2))
    for name in NAMES[::2]:
        await rooms[name].leave()
    for name in NAMES[1::2]:
        cluster.delete_room("//stuff", f"r_{name}")
    await check({name: rooms[name] for name in NAMES[::2]}, until, "leave")
    await check({name: rooms[name] for name in NAMES[1::2]}, until, "delete")
    assert client.get_rooms() == ()
    if way in {before, after, in_class}:
        assert [name for name, room in rooms.items() if getattr(room, name) is not OWN] == []


async def check(rooms, until, *seen, clock=None):
    await until(lambda: all(len(room.x_seen) >= len(seen) for room in rooms.values()), clock)
    odd = {
        name: room.x_seen
        for name, room in rooms.items()
        if sorted(map(str, room.x_seen)) != sorted(map(str, seen))
    }
    assert odd == {}
    for room in rooms.values():
        room.x_seen.clear()


def test_one_name_alone_is_reserved():
    own = {name for name in vars(Room("alerts")) if name not in vars(Room)}
    assert own == {RESERVED}


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(
    name=st.from_regex(r"_?[a-z]{1,12}(_[a-z]{1,8})?", fullmatch=True),
    way=st.sampled_from([before, after, in_class]),
)
@example("status", after)
def test_any_name_can_be_taken(name, way):
    if name in DOCUMENTED or name.startswith("x_"):
        return
    room = way(name)("alerts")
    assert getattr(room, name) is OWN
    assert (room.id, room.scope, repr(room)) == (
        None,
        "@collection:stuff",
        "<Sub 'alerts' scope='@collection:stuff' id=None>",
    )


async def test_what_a_subclass_does_not_shadow_is_shown(connect, cluster):
    client = await connect(cluster)
    room = Plain("alerts")
    assert (room.status, room.backlog, room.dropped) == (RoomStatus.WAITING, 0, 0)
    await room.join(client)
    assert (room.status, room.backlog, room.dropped) == (RoomStatus.JOINED, 0, 0)
    await room.leave()
    assert room.status is RoomStatus.WAITING


async def test_a_subclass_may_have_odd_special_methods(connect, cluster, until):
    class Odd(Plain):
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("not to be compared")

        def __bool__(self):
            return False

        def __len__(self):
            return 0

        def __repr__(self):
            raise AssertionError("not to be shown")

        def __init_subclass__(cls):
            pass

    class Odder(Odd):
        @event("plain")
        def x_on_plain(self):
            self.x_seen.append("plain")
            raise RuntimeError("logged")

    client = await connect(cluster)
    room = Odder("alerts")
    await room.join(client)
    (found,) = client.get_rooms()
    assert found is room
    cluster.emit("//stuff", "alerts", "plain")
    await until(lambda: len(room.x_seen) == 3)
    await room.leave()
    assert room.x_seen == ["init", "join", "plain", "leave"]


async def test_hooks_may_be_set_on_an_object(connect, cluster, until):
    class Set(Room):
        def __init__(self, seen):
            self.on_init = functools.partial(seen.append, "init")
            super().__init__("alerts", "//stuff")
            self.on_join = functools.partial(seen.append, "join")
            self.on_emit = lambda event, *args: seen.append((event, *args))
            self.on_leave = self.x_leave

        async def x_leave(self):
            await asyncio.sleep(0)
            seen.append("leave")

    client, seen = await connect(cluster), []
    room = Set(seen)
    await room.join(client)
    cluster.emit("//stuff", "alerts", "e", 1)
    await until(lambda: len(seen) == 3)
    await room.leave()
    await until(lambda: len(seen) == 4)
    assert seen == ["init", "join", ("e", 1), "leave"]


async def test_a_handler_may_be_anything_that_can_be_called(connect, cluster, until):
    class Decorator:
        def __init__(self, function):
            self.function = function

        def __call__(self, room, *args):
            self.function(room, "decorated", *args)

    class Mixin:
        @event("mixed in")
        def mixed_in(self, *args):
            self.seen.append(("mixed in", *args))

    class Chat(Mixin, Room):
        @Room.event("a")
        @Decorator
        def on_a(self, *args):
            self.seen.append(args)

        @Room.event("b")
        @staticmethod
        def on_b(*args):
            seen.append(("static", *args))

    client, seen = await connect(cluster), []
    room = Chat("alerts")
    room.seen = seen
    await room.join(client)
    for name in ("a", "b", "mixed in"):
        cluster.emit("//stuff", "alerts", name, 1)
    await until(lambda: len(seen) == 3)
    assert seen == [("decorated", 1), ("static", 1), ("mixed in", 1)]


def test_a_subclass_may_have_abstract_methods():
    class Store(Plain):
        @abstractmethod
        def create(self):
            """In python-thingsdb every `Room` is an abstract base class."""

    class Books(Store):
        def create(self):
            return "book"

    with pytest.raises(TypeError, match="abstract method"):
        Store("books")
    assert Books("books").create() == "book"
