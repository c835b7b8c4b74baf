"""What each kind of request does. Errors and their wording are those of the recordings."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from tdbwatch import exceptions as errors
from tdbwatch.loggers import get_logger
from tdbwatch.node.rooms import Collection, RoomPush
from tdbwatch.node.scopes import Scope, ScopeKind, parse_collection, parse_scope
from tdbwatch.wire import Kind, Request

if TYPE_CHECKING:
    from tdbwatch.node.connection import Connection

_log: Final = get_logger(__name__)

_LISTENING: Final = "see https://docs.thingsdb.io/v1/listening"
_NO_SCOPE: Final = "expecting the request to contain an array with as scope as first item"
_NEED_READY: Final = {Kind.JOIN: "join", Kind.EMIT: "emit", Kind.EMIT_PEER: "emit"}
_WARN_CODE: Final = 2
"""As in the recording `warning`."""


class Reply(NamedTuple):
    """An answer, and the pushes that come after it."""

    kind: Kind
    value: Any = None
    then: tuple[RoomPush, ...] = ()


Outcome = Reply | Awaitable[Reply]


def error_reply(error: errors.ThingsDBError) -> Reply:
    """The ERROR answer that carries this error's code and message."""
    return Reply(Kind.ERROR, {"error_code": error.error_code, "error_msg": error.error_msg})


def handle(connection: "Connection", request: Request) -> Outcome:
    """Execute one request.

    Raises:
        ThingsDBError: to be answered.
    """
    kind, node = Kind(request.kind), connection.node
    if (refusal := node.faults.refusal(kind)) is not None:
        raise refusal
    if connection.user is None and kind not in {Kind.PING, Kind.AUTH}:
        raise errors.AuthError("connection is not authenticated")
    if kind in _NEED_READY and not node.ready_for_rooms:
        raise errors.NodeError(f"`node:{node.id}` is not ready to handle {_NEED_READY[kind]} requests")
    node.cluster.record(node, kind, None if kind is Kind.AUTH else request.body)
    return _HANDLERS[kind](connection, request.body)


def _ping(_connection: "Connection", _body: Any) -> Reply:
    return Reply(Kind.PONG)


def _auth(connection: "Connection", body: Any) -> Reply:
    connection.log_in(connection.node.cluster.users.authenticate(body))
    return Reply(Kind.OK)


def _join(connection: "Connection", body: Any) -> Reply:
    collection, names = _collection(connection, body)
    _check_rooms(names, "join request only accepts integer room id's or string room names")
    found = [collection.find(name) for name in names]
    joined = []
    for room in found:
        if room is not None and room not in connection.rooms:
            connection.rooms.add(room)
            room.listeners[connection] = None
            joined.append(RoomPush(Kind.ROOM_JOIN, room))
    return Reply(Kind.DATA, [None if room is None else room.id for room in found], tuple(joined))


def _leave(connection: "Connection", body: Any) -> Reply:
    collection, names = _collection(connection, body)
    _check_rooms(names, "leave request only accepts integer room id's or string room names")
    found = [collection.find(name) for name in names]
    for room in found:
        if room is not None and room in connection.rooms:
            connection.rooms.remove(room)
            del room.listeners[connection]
            connection.push(RoomPush(Kind.ROOM_LEAVE, room))
    return Reply(Kind.DATA, [None if room is None else room.id for room in found])


def _emit(connection: "Connection", body: Any) -> Reply:
    return _emit_to(connection, body, without=None)


def _emit_peer(connection: "Connection", body: Any) -> Reply:
    return _emit_to(connection, body, without=connection)


def _emit_to(connection: "Connection", body: Any, without: "Connection | None") -> Reply:
    collection, rest = _collection(connection, body)
    if len(rest) < 2:
        raise errors.BadDataError("invalid emit request")
    name, event, *args = rest
    if not isinstance(event, str):
        raise errors.BadDataError("invalid emit request")
    if isinstance(name, int) and name < 0:
        name = None
    _check_rooms([name], "emit request only accepts an integer room id or string room name")
    if not _have_text_keys(args):
        raise errors.TypeError("property names must be of type `str`")
    try:
        connection.node.cluster.fan_out(connection.node, collection.room(name), event, args, without)
    except errors.EncodeError as error:  # a MessagePack extension: it decoded, but is no value of ThingsDB
        raise errors.BadDataError(str(error)) from error
    return Reply(Kind.OK)


def _query(connection: "Connection", body: Any) -> Outcome:
    scope, rest = _scoped(connection, body, "QUERY")
    match rest:
        case [str() as code]:
            variables: dict[str, Any] = {}
        case [str() as code, dict() as variables]:
            pass
        case _:
            raise errors.BadDataError("invalid query request")
    answer = connection.node.cluster.answers.query(code)
    if answer.change:
        _require(connection, "CHANGE", scope)
    if answer.warning is not None:
        connection.warn(_WARN_CODE, answer.warning)
    return _value_of(lambda: answer.give(body[0], code, variables))


def _run(connection: "Connection", body: Any) -> Outcome:
    _, rest = _scoped(connection, body, "RUN")
    match rest:
        case [str() as name]:
            arguments = None
        case [str() as name, arguments]:
            pass
        case _:
            raise errors.BadDataError("invalid run request")
    return _value_of(lambda: connection.node.cluster.answers.run(name, arguments))


def _value_of(function: Callable[[], Any]) -> Outcome:
    """What a registered function answers; a bug in it is answered as -1 and logged."""
    try:
        value = function()
    except errors.ThingsDBError:
        raise
    except Exception as error:
        raise _bug(error) from error
    return _awaited(value) if inspect.isawaitable(value) else Reply(Kind.DATA, value)


async def _awaited(value: Awaitable[Any]) -> Reply:
    try:
        return Reply(Kind.DATA, await value)
    except errors.ThingsDBError:
        raise
    except Exception as error:
        raise _bug(error) from error


def _bug(error: Exception) -> errors.InternalError:
    _log.error("a registered answer of the embedded node failed", exc_info=error)
    return errors.InternalError(f"the registered answer failed: {type(error).__name__}: {error}")


def _scoped(connection: "Connection", body: Any, privilege: str) -> tuple[Scope, list[Any]]:
    """The scope that a body starts with, which exists and is allowed, and the rest of the body."""
    scope = parse_scope(_first(body))
    if scope.kind is ScopeKind.COLLECTION:
        connection.node.cluster.collection(scope.name)
    _require(connection, privilege, scope)
    return scope, body[1:]


def _collection(connection: "Connection", body: Any) -> tuple[Collection, list[Any]]:
    """As `_scoped`, for the requests about rooms: the scope must be a collection's."""
    scope = parse_collection(_first(body))
    collection = connection.node.cluster.collection(scope.name)
    _require(connection, "JOIN", scope)
    return collection, body[1:]


def _require(connection: "Connection", privilege: str, scope: Scope) -> None:
    assert connection.user is not None, "only authenticated connections get here"
    connection.user.require(privilege, scope)


def _first(body: Any) -> str:
    if not isinstance(body, list) or not body or not isinstance(body[0], str):
        raise errors.BadDataError(_NO_SCOPE)
    return body[0]


def _check_rooms(rooms: Iterable[Any], message: str) -> None:
    if not all(_is_room(room) for room in rooms):
        raise errors.BadDataError(f"{message}; {_LISTENING}")


def _is_room(value: Any) -> TypeGuard[int | str]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _have_text_keys(values: list[Any]) -> bool:
    """Whether the keys of all maps are text, as ThingsDB wants a thing's (measured on 1.9.3)."""
    waiting = [values]
    while waiting:
        for value in waiting.pop():
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return False
                waiting.append(list(value.values()))
            elif isinstance(value, list):
                waiting.append(value)
    return True


_HANDLERS: Final[dict[Kind, Callable[["Connection", Any], Outcome]]] = {
    Kind.PING: _ping,
    Kind.AUTH: _auth,
    Kind.QUERY: _query,
    Kind.RUN: _run,
    Kind.JOIN: _join,
    Kind.LEAVE: _leave,
    Kind.EMIT: _emit,
    Kind.EMIT_PEER: _emit_peer,
}
