"""A cluster of embedded nodes: the collections, rooms, users and answers that its nodes share."""

import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from collections.abc import Collection as Names
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tdbwatch import exceptions as errors
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.node.answers import Answers, QueryAnswer
from tdbwatch.node.connection import MAX_QUEUED
from tdbwatch.node.node import Listen, Node
from tdbwatch.node.rooms import Collection, Room, RoomPush
from tdbwatch.node.scopes import parse_collection, parse_scope
from tdbwatch.node.users import User, Users
from tdbwatch.wire import Kind, listing

if TYPE_CHECKING:
    from tdbwatch.node.connection import Connection

SHUTDOWN_PERIOD: Final = 6.0
"""Seconds, with several nodes; a single node goes at once (recording `node-shutdown`)."""

LOG_SIZE: Final = 1_000
"""How many of the latest requests `Cluster.log` remembers."""


class Executed(NamedTuple):
    """A request that some node executed. The body of an AUTH is not kept."""

    node_id: int
    kind: Kind
    body: Any


class Cluster:
    """Embedded ThingsDB nodes on this machine; `async with` starts and stops them.

    There is a collection `stuff` and a user `admin` with the password `pass`, as in a fresh ThingsDB.
    Changes take effect on all nodes at once.

    Args:
        nodes: how many.
        host: where they listen.
        ports: one TCP port per node; by default free ones.
        shutdown_period: seconds from `SHUTTING_DOWN` to `OFFLINE`; by default 6, and 0 for a single node.
        clock: for the shutdown period and the fault switch `delay`.
        unix_path: also listen on this UNIX socket; `{id}` in it becomes the node's id.
        websocket: also listen for WebSockets, each node on a free port.
        ssl: for TCP (as behind a TLS proxy) and WebSockets.
        max_queued: bytes that may wait for one client before it is cut off.

    Attributes:
        nodes: the nodes, by id.
        executed: how many requests of each kind were executed, on all nodes.
        log: the latest of them.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        host: str = "127.0.0.1",
        ports: Sequence[int] | None = None,
        shutdown_period: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
        unix_path: str | Path | None = None,
        websocket: bool = False,
        ssl: SSLContext | None = None,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        if nodes < 1 or (ports is not None and len(ports) != nodes):
            raise ValueError(f"{nodes} nodes with ports {ports}: there must be one port for each node")
        if unix_path is not None and nodes > 1 and "{id}" not in str(unix_path):
            raise ValueError("the UNIX path of several nodes needs {id} in it")
        self.clock = clock
        self.shutdown_period = (
            shutdown_period if shutdown_period is not None else SHUTDOWN_PERIOD if nodes > 1 else 0.0
        )
        self.users = Users()
        self.answers = Answers()
        self.executed: Counter[Kind] = Counter()
        self.log: deque[Executed] = deque(maxlen=LOG_SIZE)
        self._collections: dict[str, Collection] = {}
        self.nodes = [
            Node(
                self,
                node_id,
                Listen(
                    host=host,
                    port=ports[node_id] if ports else 0,
                    unix_path=None
                    if unix_path is None
                    else Path(str(unix_path).replace("{id}", str(node_id))),
                    websocket_port=0 if websocket else None,
                    ssl=ssl,
                ),
                max_queued,
            )
            for node_id in range(nodes)
        ]
        self._list_rooms()
        self.add_collection("stuff")
        self.add_user("admin", "pass")

    def _list_rooms(self) -> None:
        """Answer the queries that ask which rooms there are: `tdbwatch rooms` works here as well."""

        def collections(_: str, __: str, ___: dict[str, Any]) -> list[dict[str, Any]]:
            return [{"name": one.name, "next_free_id": one.next_id} for one in self._collections.values()]

        def rooms(scope: str, _: str, ids: dict[str, Any]) -> list[tuple[int, str | None]]:
            there = self.collection(parse_collection(scope).name).rooms
            return [(room.id, room.name) for room in there if ids["first"] <= room.id < ids["past"]]

        self.on_query(listing.COLLECTIONS, collections)
        self.on_query(listing.ROOMS, rooms)

    async def __aenter__(self) -> Self:
        try:
            for node in self.nodes:
                await node.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def stop(self) -> None:
        """Stop all nodes at once. Until the `async with` ends they can be started again on their ports."""
        for node in self.nodes:
            await node.stop()

    async def _end(self) -> None:
        await self.stop()
        for node in self.nodes:
            node.release_ports()

    def add_collection(self, name: str) -> None:
        """Make a collection, unless there is one of this name."""
        self._collections.setdefault(name, Collection(name))

    def rename_collection(self, name: str, new_name: str) -> None:
        """Rename a collection; its rooms stay joined.

        Raises:
            LookupError: (-54) no such collection.
            ValueError: (-60) the new name is taken.
        """
        collection = self.collection(name)
        if new_name in self._collections:
            raise errors.ValueError(f"collection `{new_name}` already exists")
        del self._collections[name]
        collection.name = new_name
        self._collections[new_name] = collection

    def delete_collection(self, name: str) -> None:
        """Delete a collection and its rooms; listeners get ROOM_DELETE.

        Raises:
            LookupError: (-54) no such collection.
        """
        collection = self.collection(name)
        for room in collection.rooms:
            self._delete(room)
        del self._collections[name]

    def collection(self, name: str) -> Collection:
        """The collection of that name.

        Raises:
            LookupError: (-54) there is none (recording `errors`).
        """
        try:
            return self._collections[name]
        except KeyError:
            raise errors.LookupError(f"collection `{name}` not found") from None

    def add_room(self, scope: str, name: str | None = None, *, room_id: int | None = None) -> int:
        """Make a room, in a collection that is made too if it is missing; the new room's id.

        Raises:
            ValueError: (-60) the name or the id is taken.
        """
        collection = parse_collection(scope).name
        self.add_collection(collection)
        return self.collection(collection).add_room(name, room_id).id

    def delete_room(self, scope: str, room: int | str) -> None:
        """Delete a room; listeners get ROOM_DELETE.

        Raises:
            LookupError: (-54) no such collection or room.
        """
        self._delete(self.collection(parse_collection(scope).name).room(room))

    def add_user(
        self,
        name: str,
        password: str,
        *,
        query: bool = True,
        change: bool = True,
        run: bool = True,
        join: bool = True,
        scopes: Names[str] | None = None,
    ) -> None:
        """Make or replace a user, with privileges denied everywhere, or granted in `scopes` only."""
        granted = {"QUERY": query, "CHANGE": change, "RUN": run, "JOIN": join}
        lacks = frozenset(privilege for privilege, has in granted.items() if not has)
        only = None if scopes is None else frozenset(parse_scope(scope) for scope in scopes)
        self.users.add(User(name, password, lacks, only))

    def add_token(self, token: str, user: str = "admin") -> None:
        """Let `token` authenticate as `user`.

        Raises:
            LookupError: (-54) no such user.
        """
        self.users.add_token(token, user)

    def on_query(
        self,
        code: str | re.Pattern[str],
        answer: Any = None,
        *,
        change: bool = False,
        warning: str | None = None,
    ) -> None:
        """Register what a query is answered.

        Args:
            code: the query, surrounding space ignored, or a pattern for all of it.
            answer: a value, or a function `(scope, code, vars)` that returns one or an awaitable of one; a
                `ThingsDBError` that it raises is answered with its code and message.
            change: the query needs the privilege CHANGE.
            warning: text of a WARN that the asking client is pushed first.
        """
        self.answers.add_query(code, QueryAnswer(answer, change, warning))

    def on_procedure(self, name: str, function: Callable[..., Any]) -> None:
        """Register a procedure: called by position or by name, returns a value or an awaitable of one."""
        self.answers.add_procedure(name, function)

    def emit(self, scope: str, room: int | str, event: str, *args: Any, node: int | None = None) -> None:
        """Emit as if code on a node had called `room.emit()`, with all of `args`, however deeply nested.

        Args:
            node: the node whose code it is; by default the first that takes emits.

        Raises:
            LookupError: (-54) no such collection or room.
            NodeError: (-51) the node is not running.
            EncodeError: `args` hold something that ThingsDB has no type for.
        """
        self.fan_out(
            self._emitter(node), self.collection(parse_collection(scope).name).room(room), event, args
        )

    def fan_out(
        self, origin: Node, room: Room, event: str, args: Sequence[Any], without: "Connection | None" = None
    ) -> None:
        """Push an event to the listeners on `origin`, and on the other nodes that get its emits."""
        push = RoomPush(Kind.ROOM_EMIT, room, event=event, args=args)
        for node in self.nodes:
            if node is origin:
                node.pass_on(room, push, without)
            elif node.hears_others and node.arrivals.holds_up(origin):
                node.arrivals.expect(origin, room, event, args)
            elif node.hears_others:
                node.pass_on(room, push)

    def record(self, node: Node, kind: Kind, body: Any) -> None:
        self.executed[kind] += 1
        self.log.append(Executed(node.id, kind, body))

    def _emitter(self, node: int | None) -> Node:
        candidates = self.nodes if node is None else [self.nodes[node]]
        for candidate in candidates:
            if candidate.ready_for_rooms or (node is not None and candidate.running):
                return candidate
        raise errors.NodeError("no node is ready" if node is None else f"`node:{node}` is offline")

    def _delete(self, room: Room) -> None:
        push = RoomPush(Kind.ROOM_DELETE, room)
        for listener in room.listeners:
            listener.rooms.discard(room)
            listener.push(push)
        room.listeners.clear()
        room.collection.remove(room)
