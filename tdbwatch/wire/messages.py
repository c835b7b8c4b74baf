"""What travels in frames, by name.

Pushes are decoded straight into these classes. Unknown keys in a push are ignored, so a newer server does
not break an older client.
"""

from typing import Any

import msgspec


class Push(msgspec.Struct, gc=False):
    """Something the server says unasked."""


class Emit(Push, gc=False):
    """An event was emitted to a joined room. `scope` is None from servers before 1.8.6.

    `args` is a tuple since that is what a handler is called with: a list would be copied at each call.
    """

    id: int
    event: str
    args: tuple[Any, ...] = ()
    scope: str | None = None


class RawEmit(Push, gc=False):
    """As `Emit`, with `args` left as MessagePack: for a reader that stores or passes on what it hears."""

    id: int
    event: str
    args: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"\x90"))
    scope: str | None = None


class UnreadableEmit(RawEmit, gc=False):
    """An emit to a room that is known, but of which no event can be told; its argument is the whole body."""


class RoomState(Push, gc=False):
    """A room was joined, left or deleted (`RoomJoin`, `RoomLeave`, `RoomDelete`)."""

    id: int
    scope: str | None = None


class RoomJoin(RoomState, gc=False):
    """This connection now hears the room. Pushed after the answer to JOIN (recording `rooms`)."""


class RoomLeave(RoomState, gc=False):
    """This connection hears the room no more. Pushed before the answer to LEAVE (recording `rooms`)."""


class RoomDelete(RoomState, gc=False):
    """The room, or its whole collection, was deleted. A room made anew has another id."""


class NodeStatus(Push, gc=False):
    """The node's status changed: `AWAY_SOON`, `AWAY`, `READY`, `SHUTTING_DOWN`, `OFFLINE`, ..."""

    id: int
    status: str


class Warn(Push, gc=False):
    """A warning, for instance of the `log()` function of a query (recording `warning`)."""

    warn_code: int
    warn_msg: str


class Request(msgspec.Struct, gc=False):
    """What a client asks; `body` is None where the frame had none."""

    id: int
    kind: int
    body: Any = None


class Response(msgspec.Struct, gc=False):
    """What answers the request of the same id; `value` is None for PONG and OK."""

    id: int
    kind: int
    value: Any = None


class Skipped(msgspec.Struct, gc=False):
    """A frame that was skipped since its body does not decode; `reason` says why. The stream goes on."""

    id: int
    kind: int
    reason: str
    body: bytes = b""
    """What does not decode."""


class Unknown(msgspec.Struct, gc=False):
    """A frame of a type that this side does not know, from a newer peer. Nothing to be done about it."""

    id: int
    kind: int
