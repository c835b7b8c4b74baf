"""What a room's handlers and hooks do: in which order they run, and that their mistakes stay with them."""

import asyncio
import logging

import pytest

from tdbwatch.room import Room, event


class Ended(BaseException):
    """As libraries have them, to get past `except Exception`."""


async def test_handlers_get_their_events_and_on_emit_gets_the_rest(client, emit, until):
    class Chat(Room):
        def __init__(self):
            super().__init__("alerts")
            self.seen = []

        @event("say")
        def said(self, *args):
            self.seen.append(("said", *args))

        @event("async say")
        async def said_later(self, text):
            self.seen.append(("later", text))

        def on_emit(self, event, *args):
            self.seen.append((event, *args))

    chat = Chat()
    await chat.join(client)
    emit("say", "a", "b")
    emit("async say", "c")
    emit("other", 1)
    await until(lambda: len(chat.seen) == 3)
    assert sorted(chat.seen) == [("later", "c"), ("other", 1), ("said", "a", "b")]


async def test_on_join_may_query(client):
    class Asking(Room):
        async def on_join(self):
            self.answer = await self.client.query("echo;", scope=self.scope, room=self.id)

    asking = Asking("alerts")
    await asking.join(client)
    assert asking.answer == {"room": 1}


async def test_hooks_may_be_plain_or_async_and_init_ends_before_join(client):
    class Hooked(Room):
        def __init__(self):
            super().__init__("alerts")
            self.hooks = []

        async def on_init(self):
            await asyncio.sleep(0)
            self.hooks.append("init")

        def on_join(self):
            self.hooks.append("join")

        async def on_leave(self):
            self.hooks.append("leave")

    room = Hooked()
    await room.join(client)
    await room.leave()
    for _ in range(3):
        await asyncio.sleep(0)
    assert room.hooks == ["init", "join", "leave"]


@pytest.mark.parametrize("hook", ["on_leave", "on_init"])
async def test_a_hook_that_raises_an_exception_past_exception_costs_no_connection(client, Ears, hook):
    def ends(self):
        raise Ended

    ears = type("Clumsy", (Ears,), {hook: ends})("alerts")
    if hook == "on_init":
        with pytest.raises(RuntimeError, match="on_init"):
            await ears.join(client)
    else:
        await ears.join(client)
        await ears.leave()
    assert client.is_connected()
    assert await client.query("echo;") == {}


async def test_a_handler_that_raises_is_logged_with_room_and_event_and_hurts_nothing_else(
    client, emit, until, caplog, Ears
):
    class Clumsy(Room):
        @event("raise")
        def raises(self, *args):
            raise RuntimeError("oops")

        @event("cancel")
        def cancels(self):
            raise asyncio.CancelledError

        @event("own")
        def ends_nothing(self):
            raise Ended("of its own")

        @event("async own")
        async def ends_nothing_later(self):
            raise Ended("of its own")

        @event("async raise")
        async def raises_later(self):
            raise RuntimeError("oops later")

        @event("async cancel")
        async def cancels_later(self):
            raise asyncio.CancelledError

    clumsy, ears = Clumsy("alerts"), Ears("alerts")
    await clumsy.join(client)
    await ears.join(client)
    caplog.clear()
    for name in ("own", "async own", "raise", "cancel", "async raise", "async cancel", "async raise"):
        emit(name)
    emit("raise", 1, 2, 3)
    emit("async raise", "too many")
    await until(lambda: len(ears.heard) == 9 and not clumsy.backlog)
    await asyncio.sleep(0)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(messages) == 9
    assert all("Clumsy" in message and "alerts" in message for message in messages)
    for name in ("own", "async own", "raise", "cancel", "async raise", "async cancel"):
        assert any(f"'{name}'" in message for message in messages)
    assert client.is_connected()


async def test_an_on_join_that_raises_or_is_cancelled_ends_the_waiting_join(client, caplog):
    class Clumsy(Room):
        async def on_join(self):
            raise self.what

    for what in (RuntimeError("oops"), asyncio.CancelledError()):
        clumsy = Clumsy("alerts")
        clumsy.what = what
        await clumsy.join(client)
    assert sum("on_join of" in record.getMessage() for record in caplog.records) == 2


async def test_async_handlers_of_a_room_run_one_after_the_other_in_order(client, emit, until):
    class Ordered(Room):
        def __init__(self):
            super().__init__("alerts")
            self.log = []

        @event("e")
        async def heard(self, number):
            self.log.append(("start", number))
            for _ in range(5 - number):
                await asyncio.sleep(0)
            self.log.append(("end", number))

    room = Ordered()
    await room.join(client)
    for number in range(5):
        emit("e", number)
    await until(lambda: len(room.log) == 10)
    assert room.log == [(what, number) for number in range(5) for what in ("start", "end")]


async def test_a_slow_async_handler_stops_no_other_room_and_its_backlog_is_bounded_and_visible(
    client, emit, until, Ears, caplog
):
    class Stuck(Room):
        @event("e")
        async def stuck(self, number):
            await never.wait()

    never = asyncio.Event()
    stuck, ears = Stuck("alerts", max_backlog=5), Ears("alerts")
    await stuck.join(client)
    await ears.join(client)
    for number in range(20):
        emit("e", number)
    await until(lambda: len(ears.heard) == 20)
    assert (stuck.backlog, stuck.dropped) == (5, 15)
    messages = [record.getMessage() for record in caplog.records if "dropped so far" in record.getMessage()]
    assert [int(message.split(">: ")[1].split()[0]) for message in messages] == [1, 2, 4, 8]
    await stuck.leave()
    assert stuck.backlog == 0
    never.set()


async def test_a_handler_may_leave_its_own_room(client, emit, until):
    class OneShot(Room):
        left = False

        @event("e")
        async def heard(self):
            await self.leave()
            await asyncio.sleep(0)
            self.left = True

    room = OneShot("alerts")
    await room.join(client)
    emit("e")
    emit("e")
    await until(lambda: room.left)


async def test_a_handler_may_close_the_client(client, emit, until):
    class Closing(Room):
        @event("e")
        def heard(self):
            self.client.close()

    room = Closing("alerts")
    await room.join(client)
    pending = asyncio.create_task(client.query("slow;"))
    for _ in range(3):
        emit("e")
    await until(pending.done)
    assert isinstance(pending.exception(), ConnectionError)


async def test_subclasses_inherit_and_override_handlers(client, emit, until):
    class Base(Room):
        def __init__(self):
            super().__init__("alerts")
            self.heard = []

        @event("a")
        def a(self):
            self.heard.append("a")

        @event("b")
        def b(self):
            self.heard.append("base's b")

        def on_emit(self, event, *args):
            self.heard.append(f"unhandled {event}")

    class Derived(Base):
        @Room.event("c")
        def b(self):
            self.heard.append("c")

        @Room.event("a")
        def later_a(self):
            self.heard.append("derived's a")

    room = Derived()
    await room.join(client)
    for name in "abc":
        emit(name)
    await until(lambda: len(room.heard) == 3)
    assert room.heard == ["derived's a", "unhandled b", "c"]
