"""One event, as every sink gets it, and the record that it renders to.

An `Event` is immutable and shared by all sinks. What it carries is kept as MessagePack: `args`, `data` and
`details` decode it anew at each access, so every plugin has its own copy and none can change another's.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr, replace

from tdbwatch.plugin.ids import IdMint
from tdbwatch.plugin.jsonable import (
    args_as_json,
    decode_plain,
    is_jsonable,
    to_json,
    to_jsonable,
)
from tdbwatch.wire.codec import BodyError, decode, decode_keeping_keys, encode

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_mint: Final = IdMint()


class Kind(StrEnum):
    """What a record tells of. Routes match on it; without a `kind` they match events only."""

    EVENT = "event"
    GAP = "gap"
    ROOM = "room"
    NODE = "node"
    DEAD_LETTER = "dead_letter"
    SINK = "sink"
    SUPPRESSED = "suppressed"
    CONFIG = "config"
    GROUP = "group"
    ABSENCE = "absence"


EVENT: Final = str(Kind.EVENT.value)  # looking into an enum takes longer than comparing with it
_MOST_KEPT: Final = 256
"""Letters of an event's name with which anything is kept: emitters choose them."""


class Header(msgspec.Struct, frozen=True, gc=False, eq=False):
    """What an event says beside its id and its arguments: neighbours mostly share one. See `Event`."""

    kind: str
    received_us: int
    scope: str
    room: str
    event: str


class Event(msgspec.Struct, frozen=True, gc=False, eq=False):
    """What was heard in a room (kind `event`), or what tdbwatch has to say itself (`gap`, `room`, `node`).

    Attributes:
        id: UUIDv7, minted once when the event was received; the same at every attempt and after restarts.
        kind: one of `Kind`.
        received_us: when it was received, in microseconds since the Unix epoch.
        scope: the collection as users write it, such as `//stuff`.
        room: the room's name in the configuration.
        room_id: the room's id at the server, where known.
        event: the event's name.
        payload: MessagePack: the array of arguments, or, of other kinds, the map of details.
        arg_names: the names that the configuration gives to the arguments, if any.
        packed_fields: MessagePack: what routes have set, if they have.
        held: routes that hold it back.
        hops: of what the daemon emitted itself, for a sink: how many emits of sinks led to it, one after
            the other; else 0.
        to: sinks that get it whatever the routes say: those of the route that made it of others.
        rendered: what `json` returns, once somebody has asked for it.
    """

    id: str
    kind: str
    received_us: int
    scope: str
    room: str
    room_id: int | None
    event: str
    payload: bytes
    arg_names: tuple[str, ...] = ()
    packed_fields: bytes = b""
    held: tuple[str, ...] = ()
    hops: int = 0
    to: tuple[str, ...] = ()
    rendered: bytes | None = None

    @classmethod
    def create(
        cls,
        room: str = "alerts",
        event: str = "",
        args: Sequence[Any] = (),
        *,
        kind: str = Kind.EVENT,
        scope: str = "//stuff",
        room_id: int | None = None,
        arg_names: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
        received_us: int | None = None,
        hops: int = 0,
    ) -> "Event":
        """An event made by hand: for tests, and for what tdbwatch tells of itself."""
        event_id, now_us = _mint.mint()
        payload = encode(list(args) if kind == Kind.EVENT else dict(details or {}))
        when = now_us if received_us is None else received_us
        names = tuple(arg_names)
        return cls(event_id, kind, when, scope, room, room_id, event, payload, names, hops=hops)

    def with_fields(self, fields: Mapping[str, Any]) -> "Event":
        """The same event with these fields, made of what JSON has."""
        return replace(self, packed_fields=encode(dict(fields)), rendered=None)

    @property
    def fields(self) -> dict[str, Any]:
        """What the routes' `set` says of it: your own copy."""
        return decode(self.packed_fields) if self.packed_fields else {}

    @property
    def time(self) -> datetime:
        """When it was received, in UTC."""
        return _EPOCH + timedelta(microseconds=self.received_us)

    @property
    def args(self) -> list[Any]:
        """The event's arguments: your own copy. Empty for other kinds.

        A map with keys that are one in Python, such as 1 and true, is a list of pairs.
        """
        if self.kind != EVENT:
            return []
        if (plain := decode_plain(self.payload)) is not None:
            return plain
        decoded = self._decoded()
        return decoded if isinstance(decoded, list) else [decoded]

    @property
    def data(self) -> dict[str, Any] | None:
        """The arguments by the names that the configuration gives them; None when it gives none."""
        if not self.arg_names:
            return None
        return dict(zip(self.arg_names, self.args, strict=False))

    @property
    def details(self) -> dict[str, Any]:
        """What a record of another kind carries, such as a gap's `since`, `until`, `reason`, `dropped`."""
        decoded = self._decoded() if self.kind != EVENT else {}
        return decoded if isinstance(decoded, dict) else {}

    def record(self) -> dict[str, Any]:
        """The record: what sinks and files show, made of what JSON has (docs/records.md)."""
        return self._record(self._json_args() if self.kind == EVENT else [])

    def _record(self, args: list[Any]) -> dict[str, Any]:
        record: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "time": format_time(self.received_us),
            "scope": self.scope,
            "room": self.room,
            "room_id": self.room_id,
            "event": self.event,
        }
        if self.kind == EVENT:
            record["args"] = args
            if self.arg_names:
                record["data"] = dict(zip(self.arg_names, args, strict=False))
        else:
            record.update(_jsonable_details(self.details))
        if self.packed_fields:
            record["fields"] = self.fields
        if self.hops:
            record["hops"] = self.hops
        return record

    def json(self) -> bytes:
        """The record as one line of JSON, without a newline. Rendered once for all sinks."""
        if self.rendered is None:
            try:
                text = self._render()
            except RecursionError:  # nested deeper than JSON can be made: show what came
                text = to_json(self._record(to_jsonable([self.payload])))
            force_setattr(self, "rendered", text)
        return self.rendered  # type: ignore[return-value]

    def _render(self) -> bytes:
        plain = self.kind == EVENT and not (self.arg_names or self.packed_fields or self.hops)
        try:
            args = args_as_json(self.payload) if plain else None
            return to_json(self.record()) if args is None else self._line(args)
        except (TypeError, ValueError):  # keys that JSON cannot have, or text that is not Unicode
            return to_json(to_jsonable(self.record()))

    def _line(self, args: bytes) -> bytes:
        """As `record`, put together from pieces: half the work of encoding it."""
        middle = middle_of(self.received_us, self.scope, self.room, self.room_id, self.event)
        return b'{"id":"%b%b%b}' % (self.id.encode(), middle.encode(), args)

    def _json_args(self) -> Any:
        try:
            args = decode(self.payload)
            if isinstance(args, list) and is_jsonable(args):
                return args
        except (BodyError, RecursionError):
            pass
        try:
            args = decode_keeping_keys(self.payload)
            return to_jsonable(args if isinstance(args, list) else [args])
        except (BodyError, RecursionError):  # show what came rather than lose it
            return to_jsonable([self.payload])

    def _decoded(self) -> Any:
        try:
            return decode_keeping_keys(self.payload)
        except BodyError:  # show what came rather than lose it
            return [self.payload]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.id)

    def _key(self) -> tuple[Any, ...]:
        return (
            self.id,
            self.kind,
            self.received_us,
            self.scope,
            self.room,
            self.room_id,
            self.event,
            self.payload,
            self.arg_names,
            self.packed_fields,
            self.hops,
        )


def _jsonable_details(details: dict[str, Any]) -> dict[str, Any]:
    """What a record carries. Events nest in some; what is too deep is shown as it came rather than lost."""
    try:
        return to_jsonable(details)  # type: ignore[no-any-return]
    except RecursionError:
        return {key: _jsonable_or_packed(value) for key, value in details.items()}


def _jsonable_or_packed(value: Any) -> Any:
    try:
        return to_jsonable(value)
    except RecursionError:
        return to_jsonable(encode(value))


def middle_of(received_us: int, scope: str, room: str, room_id: int | None, event: str) -> str:
    """What stands between a plain event's id and its arguments: neighbours mostly have it in common."""
    keys = _shared_keys if len(event) <= _MOST_KEPT else _shared_keys.__wrapped__
    shared = keys(scope, room, room_id, event)
    return f'","kind":"event","time":"{format_time(received_us)}",{shared},"args":'


@lru_cache(maxsize=1024)
def _shared_keys(scope: str, room: str, room_id: int | None, event: str) -> str:
    """The keys of a record between its time and its arguments, as JSON without braces."""
    return to_json({"scope": scope, "room": room, "room_id": room_id, "event": event}).decode()[1:-1]


@lru_cache(maxsize=256)  # what was received together has one time, and most of the rest its second
def format_time(microseconds: int) -> str:
    """RFC 3339 in UTC with microseconds, such as `2026-11-23T07:24:00.123456Z`."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_format_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=256)
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
