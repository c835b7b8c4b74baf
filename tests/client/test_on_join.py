"""No handler runs before the room's `on_join` has ended; what comes meanwhile is handled then, in order."""

import asyncio
import logging

import pytest

from tdbwatch.client.rooms import turns
from tdbwatch.room import Room, event


@pytest.fixture
def emit(cluster):
    return lambda name, *args, room="alerts": cluster.emit("//stuff", room, name, *args)


@pytest.fixture
def lose(client, cluster, until, clock):
    """Lose the connection, and wait for the next one."""

    async def lose():
        cluster.nodes[0].faults.close_connections()
        await until(lambda: not client.is_connected())
        await until(client.is_connected, clock)

    return lose


class Gated(Room):
    """An `on_join` that ends when it is told to, and handlers of every sort."""

    def __init__(self, room="alerts", **options):
        super().__init__(room, "//stuff", **options)
        self.seen = []
        self.gate, self.slow = asyncio.Event(), asyncio.Event()

    async def on_join(self):
        self.seen.append("joining")
        await self.gate.wait()
        self.seen.append("joined")

    @event("plain")
    def on_plain(self, number):
        self.seen.append(number)

    @event("async")
    async def on_async(self, number):
        await asyncio.sleep(0)
        self.seen.append(number)

    @event("slow")
    async def on_slow(self, number):
        await self.slow.wait()
        self.seen.append(number)

    def on_emit(self, event, *args):
        self.seen.append((event, *args))

    def on_delete(self):
        self.seen.append("deleted")


async def settled(client):
    """Whatever the node sent before has been heard, and every task had its turn."""
    await client.query("echo;")
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_comes_while_on_join_runs_is_handled_after_it_in_order(client, emit, until):
    room = Gated()
    joining = asyncio.create_task(room.join(client))
    await until(lambda: room.seen)
    for number in range(5):
        emit("plain", number)
    emit("other", "x")
    await settled(client)
    assert (room.seen, room.backlog, joining.done()) == (["joining"], 6, False)
    room.gate.set()
    await joining
    assert room.seen == ["joining", "joined", 0, 1, 2, 3, 4, ("other", "x")]
    emit("plain", 5)
    await until(lambda: room.seen[-1] == 5)
    assert (room.backlog, room.dropped) == (0, 0)


async def test_async_handlers_come_after_on_join_too_and_in_order(client, emit, until):
    room = Gated()
    joining = asyncio.create_task(room.join(client))
    await until(lambda: room.seen)
    for number in range(3):
        emit("async", number)
    await settled(client)
    assert room.seen == ["joining"]
    room.gate.set()
    await joining
    emit("async", 3)
    await until(lambda: len(room.seen) == 6)
    assert room.seen == ["joining", "joined", 0, 1, 2, 3]


class Ledger(Room):
    """The pattern: `on_join` fetches the state, handlers keep it current."""

    state = None

    async def on_join(self):
        self.state = set(await self.client.query("state;", scope=self.scope))

    @event("added")
    def on_added(self, number):
        self.state.add(number)


@pytest.mark.parametrize("again", [False, True], ids=["at the first join", "at a rejoin"])
async def test_state_that_on_join_fetches_and_handlers_keep_current_lacks_nothing(
    client, cluster, emit, until, lose, again
):
    state = []

    async def answer(*_):
        """While the answer is under way, more is added."""
        answered = list(state)
        for _ in range(20):
            add()
            await asyncio.sleep(0)
        return answered

    def add():
        state.append(len(state))
        emit("added", state[-1])

    cluster.on_query("state;", answer)
    room = Ledger("alerts")
    for _ in range(50):
        await room.join(client)
        if again:
            room.state = None
            await lose()
            await until(lambda: room.state is not None)
        add()
        await until(lambda: len(state) - 1 in room.state)
        assert room.state == set(state)
        await room.leave()
        room.state = None


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
async def test_no_handler_runs_between_on_init_and_on_join(client, emit, until, is_async):
    class Initialising(Gated):
        def on_init(self):
            self.seen.append("initialised")
            emit("plain", 1)

        async def on_init_later(self):
            emit("plain", 1)
            await settled(client)
            self.seen.append("initialised")

    room = Initialising()
    if is_async:
        room.on_init = room.on_init_later
    joining = asyncio.create_task(room.join(client))
    await until(lambda: "joining" in room.seen)
    await settled(client)
    assert room.seen == ["initialised", "joining"]
    room.gate.set()
    await joining
    assert room.seen == ["initialised", "joining", "joined", 1]


async def test_at_a_rejoin_handlers_wait_again_and_those_of_before_come_first(client, emit, until, lose):
    room = Gated()
    room.gate.set()
    await room.join(client)
    room.gate.clear()
    emit("slow", "before")
    emit("async", "still before")
    await settled(client)
    await lose()
    emit("plain", "after")
    await settled(client)
    assert room.seen == ["joining", "joined"]
    room.slow.set()
    await until(lambda: room.seen[-1] == "joining")
    assert room.seen[2:] == ["before", "still before", "joining"]
    room.gate.set()
    await until(lambda: room.seen[-1] == "after")
    assert room.seen[3:] == ["still before", "joining", "joined", "after"]


async def test_a_connection_that_is_lost_while_on_join_runs_makes_it_run_again_afterwards(
    client, emit, until, lose
):
    room = Gated()
    joining = asyncio.create_task(room.join(client))
    await until(lambda: room.seen)
    emit("plain", 1)
    await settled(client)
    await lose()
    emit("plain", 2)
    await settled(client)
    assert room.seen == ["joining"]
    room.gate.set()
    await joining
    await until(lambda: room.seen[-1] == 2)
    assert room.seen == ["joining", "joined", "joining", "joined", 1, 2]


async def test_rooms_that_join_at_once_do_not_wait_for_each_other(client, cluster, emit, until):
    names = [f"room{number}" for number in range(20)]
    for name in names:
        cluster.add_room("//stuff", name)
    rooms = [Gated(name) for name in names]
    joins = [asyncio.create_task(room.join(client)) for room in rooms]
    await until(lambda: all(room.seen for room in rooms))
    for name in names:
        emit("plain", name, room=name)
    rooms[7].gate.set()
    await joins[7]
    await until(lambda: rooms[7].seen[-1] == "room7")
    assert [room.seen for room in rooms if room is not rooms[7]] == [["joining"]] * 19
    for room in rooms:
        room.gate.set()
    await asyncio.gather(*joins)
    await until(
        lambda: all(room.seen == ["joining", "joined", name] for room, name in zip(rooms, names, strict=True))
    )


@pytest.mark.parametrize("wait", [60, None])
async def test_of_rooms_that_join_together_each_on_init_comes_before_the_first_on_join(
    client, cluster, Ears, wait
):
    """As with python-thingsdb, where each join waits for the one before it."""
    seen = []

    class Seeing(Ears):
        def on_init(self):
            seen.append("init")

        async def on_join(self):
            seen.append("join")
            if len(seen) == 6:
                over.set()

    over = asyncio.Event()
    late = asyncio.get_running_loop().create_future()
    cluster.on_query(".late.id();", lambda *_: late)
    cluster.add_room("//stuff", "other")
    joins = [
        asyncio.create_task(Seeing(key).join(client, wait)) for key in ("alerts", "other", ".late.id();")
    ]
    await settled(client)
    assert seen == ["init", "init"]
    late.set_result(1)
    await asyncio.gather(*joins)
    await over.wait()
    assert seen == ["init"] * 3 + ["join"] * 3


async def test_a_join_that_takes_long_holds_up_no_other_rooms_on_join_for_long(
    client, cluster, Ears, monkeypatch, until
):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    never = asyncio.get_running_loop().create_future()
    cluster.on_query(".never.id();", lambda *_: never)
    joining = asyncio.create_task(Ears(".never.id();").join(client))
    await settled(client)
    ears = Ears("alerts")
    await ears.join(client)
    assert (ears.hooks, joining.done()) == (["init", "join"], False)
    joining.cancel()
    await asyncio.gather(joining, return_exceptions=True)
    monkeypatch.setattr(turns, "PATIENCE", 600.0)  # what was given up is not waited for
    again = Ears("alerts")
    await again.join(client)


async def test_an_on_join_may_join_another_room_and_hear_it(client, cluster, emit, until, lose):
    cluster.add_room("//stuff", "inner")

    class Outer(Gated):
        async def on_join(self):
            inner = self.inner = Gated("inner")
            inner.gate.set()
            await inner.join(self.client)
            emit("plain", "for inner", room="inner")
            await until(lambda: inner.seen[-1] == "for inner")
            self.seen.append("joined")

    room = Outer()
    await room.join(client)
    emit("plain", "for outer")
    await until(lambda: room.seen == ["joined", "for outer"])
    await lose()
    await until(lambda: room.seen.count("joined") == 2)


async def test_an_on_join_that_raises_lets_the_events_in(client, emit, until, caplog):
    class Failing(Gated):
        async def on_join(self):
            await super().on_join()
            raise RuntimeError("oops")

    room = Failing()
    joining = asyncio.create_task(room.join(client))
    await until(lambda: room.seen)
    emit("plain", 1)
    await settled(client)
    room.gate.set()
    await joining
    await until(lambda: room.seen == ["joining", "joined", 1])
    assert any("on_join of <Failing" in record.getMessage() for record in caplog.records)


async def test_while_an_on_join_hangs_a_bounded_number_of_events_waits(client, emit, until, caplog):
    room = Gated(max_backlog=5)
    with pytest.raises(TimeoutError, match="not joined within"):
        await room.join(client, wait=0.01)
    for number in range(14):
        emit(("plain", "async")[number % 2], number)
    await settled(client)
    assert (room.seen, room.backlog, room.dropped) == (["joining"], 5, 9)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [int(message.split(">: ")[1].split()[0]) for message in messages] == [1, 2, 4, 8]
    assert all("on_join" in message and "<Gated 'alerts'" in message for message in messages)
    room.gate.set()
    await until(lambda: len(room.seen) == 7)
    assert sorted(room.seen[2:]) == [0, 1, 2, 3, 4]


async def test_without_wait_events_do_not_wait_for_on_join_either(client, emit, until, lose):
    """As with python-thingsdb: an `on_join` may wait for an event of its own room then."""

    class Waiting(Gated):
        async def on_join(self):
            self.seen.append("joining")
            await until(lambda: "go" in self.seen)
            self.seen.append("joined")

    room = Waiting()
    await room.join(client, wait=None)
    emit("plain", "go")
    await until(lambda: room.seen == ["joining", "go", "joined"])
    emit("slow", "slow")
    await settled(client)
    room.seen.clear()
    await lose()
    await until(lambda: room.seen == ["joining"])
    emit("plain", "go")
    await until(lambda: room.seen == ["joining", "go", "joined"])
    room.slow.set()


async def test_a_room_that_is_left_while_on_join_runs_hears_nothing_more(client, emit, until):
    room = Gated()
    joining = asyncio.create_task(room.join(client))
    await until(lambda: room.seen)
    emit("plain", 1)
    await settled(client)
    await room.leave()
    assert room.backlog == 0
    room.gate.set()
    await joining
    await settled(client)
    assert room.seen == ["joining", "joined"]


async def test_an_on_join_may_leave_and_a_handler_may_leave_and_join(client, emit, until):
    class Once(Gated):
        async def on_join(self):
            await super().on_join()
            if self.seen.count("joined") == 1:
                await self.leave()

        @event("again")
        async def on_again(self):
            await self.leave()
            await self.join(self.client)
            self.seen.append("again")

    room = Once()
    room.gate.set()
    await room.join(client)
    assert client.get_rooms() == ()
    await room.join(client)
    emit("again")
    await until(lambda: room.seen[-1] == "again")
    emit("plain", 1)
    await until(lambda: room.seen[-1] == 1)


async def test_on_delete_comes_after_the_events_before_it(client, cluster, emit, until):
    room = Gated()
    joining = asyncio.create_task(room.join(client))
    await until(lambda: room.seen)
    emit("plain", 1)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: client.get_rooms() == ())
    assert room.seen == ["joining"]
    room.gate.set()
    await joining
    assert room.seen == ["joining", "joined", 1, "deleted"]


# -- on_init -------------------------------------------------------------------------------------------------


class Refusing(Gated):
    """An `on_init` that raises as long as it is told to."""

    error = None

    def on_init(self):
        self.seen.append("init")
        if self.error is not None:
            raise self.error


class RefusingLater(Refusing):
    async def on_init(self):
        await asyncio.sleep(0)
        super().on_init()


@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
async def test_an_on_init_that_raises_fails_the_join_which_can_be_tried_again(
    client, cluster, emit, until, kind
):
    room = kind()
    room.gate.set()
    room.error = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        await room.join(client)
    assert (room.seen, client.get_rooms()) == (["init"], ())
    await client.query("echo;")
    await until(lambda: not cluster.collection("stuff").room("alerts").listeners)
    room.error = None
    await room.join(client)
    emit("plain", 1)
    await until(lambda: room.seen[-1] == 1)
    assert room.seen == ["init", "init", "joining", "joined", 1]


@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
@pytest.mark.parametrize("error", [StopIteration(), asyncio.CancelledError(), RuntimeError("oops")])
async def test_whatever_on_init_raises_join_raises_an_error(client, kind, error):
    room = kind()
    room.error = error
    with pytest.raises(RuntimeError):
        await room.join(client)
    assert client.get_rooms() == ()


async def test_an_on_init_that_raises_when_nobody_waits_is_logged_and_the_room_is_left(
    client, cluster, until, caplog
):
    class RefusingMuchLater(Refusing):
        async def on_init(self):
            await self.slow.wait()
            super().on_init()

    room = RefusingMuchLater()
    room.error = OSError("no disk")
    await room.join(client, wait=0)
    room.slow.set()
    await until(lambda: client.get_rooms() == ())
    await until(lambda: not cluster.collection("stuff").room("alerts").listeners)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "on_init" in record.getMessage()
    assert record.exc_info[1] is room.error


async def test_on_init_has_run_when_join_returns_even_if_it_waits_for_nothing(client):
    room = Refusing()
    await room.join(client, wait=None)
    assert room.seen[0] == "init"
    room.gate.set()
