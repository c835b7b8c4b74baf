"""Every error that the connector raises.

Two families. A `ThingsDBError` is an answer of the server: it has a code (`ErrorCode`) and a message, and
one class per code. The others are about the way to the server, and no answer: `ConnectionLostError`,
`NotConnectedError`, `ProtocolError`, ..., and the built-in `TimeoutError` where a deadline has passed.

Names and built-in bases are those of python-thingsdb 1.x: a program's `except` clauses catch the same. No
answer is an `OSError`, so a loop that connects again after one stops at a login that is refused. Some names
hide built-ins: import the module, not the names. One difference is meant: `CancelledError` is not an
`asyncio.CancelledError`, so an answer of the server can never be taken for the cancellation of the
caller's task.
"""

import builtins
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar, Final, TypedDict, TypeVar

from tdbwatch.redaction import presentable

_MOST_SHOWN: Final = 200
"""Characters of an answer that makes no sense."""


class ErrorCode(IntEnum):
    """The server's error codes (public ThingsDB documentation; seen in the recording `errors`)."""

    CANCELLED = -64
    OPERATION = -63
    NUM_ARGUMENTS = -62
    TYPE = -61
    VALUE = -60
    OVERFLOW = -59
    ZERO_DIV = -58
    MAX_QUOTA = -57
    AUTH = -56
    FORBIDDEN = -55
    LOOKUP = -54
    BAD_DATA = -53
    SYNTAX = -52
    NODE = -51
    ASSERTION = -50
    RESULT_TOO_LARGE = -6
    REQUEST_TIMEOUT = -5
    REQUEST_CANCEL = -4
    WRITE_UV = -3
    MEMORY = -2
    INTERNAL = -1


class ErrData(TypedDict):
    """The body of an ERROR answer."""

    error_msg: str
    error_code: int


class ThingsDBError(Exception):
    """An error that ThingsDB answered.

    Attributes:
        error_code: the server's code; `ErrorCode` for built-in ones, any int for a user's own.
        error_msg: the server's message, as sent.
    """

    code: ClassVar[int] = int(ErrorCode.INTERNAL)

    def __init__(self, *args: Any, errdata: ErrData | None = None) -> None:
        self.error_code: int = self.code
        if isinstance(errdata, dict):
            args = (errdata["error_msg"],)
            self.error_code = errdata["error_code"]
        super().__init__(*args)

    @property
    def error_msg(self) -> str:
        return str(self.args[0]) if self.args else ""


_BY_CODE: Final[dict[int, type[ThingsDBError]]] = {}


_MISSING_PRIVILEGE: Final = re.compile(r"missing the required privileges \(`(\w+)`\)")

_E = TypeVar("_E", bound=type[ThingsDBError])


def _answers(code: ErrorCode) -> Callable[[_E], _E]:
    """Register the decorated class for `code`; two classes for one code are refused at import."""

    def register(cls: _E) -> _E:
        if code in _BY_CODE:
            raise RuntimeError(f"error code {code} has two classes: {_BY_CODE[code]} and {cls}")
        cls.code = int(code)
        _BY_CODE[code] = cls
        return cls

    return register


@_answers(ErrorCode.CANCELLED)
class CancelledError(ThingsDBError):
    """The operation was cancelled before completion, by the server."""


@_answers(ErrorCode.OPERATION)
class OperationError(ThingsDBError):
    """The operation is not valid in the current context."""


@_answers(ErrorCode.NUM_ARGUMENTS)
class NumArgumentsError(ThingsDBError):
    """A function got the wrong number of arguments."""


@_answers(ErrorCode.TYPE)
class TypeError(ThingsDBError, builtins.TypeError):
    """An object has an inappropriate type."""


@_answers(ErrorCode.VALUE)
class ValueError(ThingsDBError, builtins.ValueError):
    """An object has the right type but an inappropriate value."""


@_answers(ErrorCode.OVERFLOW)
class OverflowError(ThingsDBError, builtins.OverflowError):
    """An integer does not fit in 64 bits."""


@_answers(ErrorCode.ZERO_DIV)
class ZeroDivisionError(ThingsDBError, builtins.ZeroDivisionError):
    """Division or modulo by zero."""


@_answers(ErrorCode.MAX_QUOTA)
class MaxQuotaError(ThingsDBError):
    """A quota is reached."""


@_answers(ErrorCode.AUTH)
class AuthError(ThingsDBError):
    """Authentication failed, or the connection is not authenticated."""


@_answers(ErrorCode.FORBIDDEN)
class ForbiddenError(ThingsDBError):
    """The user lacks a privilege on the scope, or its whitelist does not name what was asked for."""

    @property
    def privilege(self) -> str | None:
        """The privilege that is missing, such as `JOIN`; None if this is about something else.

        ThingsDB says it in the message alone (recording `forbidden`).
        """
        found = _MISSING_PRIVILEGE.search(self.error_msg)
        return found and found[1]


@_answers(ErrorCode.LOOKUP)
class LookupError(ThingsDBError, builtins.LookupError):
    """A requested resource (collection, room, property, ...) does not exist."""


@_answers(ErrorCode.BAD_DATA)
class BadDataError(ThingsDBError):
    """The request's data is invalid."""


@_answers(ErrorCode.SYNTAX)
class SyntaxError(ThingsDBError):
    """The code of a query does not parse."""


@_answers(ErrorCode.NODE)
class NodeError(ThingsDBError):
    """The node cannot handle the request now; another one may."""


@_answers(ErrorCode.ASSERTION)
class AssertionError(ThingsDBError, builtins.AssertionError):
    """An `assert` in the code failed."""


@_answers(ErrorCode.RESULT_TOO_LARGE)
class ResultTooLargeError(ThingsDBError):
    """The result exceeds the server's limit."""


@_answers(ErrorCode.REQUEST_TIMEOUT)
class RequestTimeoutError(ThingsDBError):
    """The request took too long, by the server's limit. (By the caller's, it is a `TimeoutError`.)"""


@_answers(ErrorCode.REQUEST_CANCEL)
class RequestCancelError(ThingsDBError):
    """The request was cancelled, by the server."""


@_answers(ErrorCode.WRITE_UV)
class WriteUVError(ThingsDBError):
    """The server could not write to a socket."""


@_answers(ErrorCode.MEMORY)
class MemoryError(ThingsDBError, builtins.MemoryError):
    """The server is out of memory."""


@_answers(ErrorCode.INTERNAL)
class InternalError(ThingsDBError):
    """An internal error of the server."""


class CustomError(ThingsDBError):
    """A code that no built-in class stands for: raised by a user's code, or newer than this client."""

    code = -100


def from_wire(errdata: Any) -> ThingsDBError:
    """The exception for the body of an ERROR answer; an unknown code keeps its number and message.

    Any body makes an exception, also one that is not `{error_code, error_msg}` as it should be.
    """
    if not isinstance(errdata, dict):
        return _senseless(errdata)
    code, message = errdata.get("error_code"), errdata.get("error_msg")
    if not isinstance(code, int) or not isinstance(message, str):
        return _senseless(errdata)
    return _BY_CODE.get(code, CustomError)(errdata={"error_code": code, "error_msg": message})


def _senseless(answer: Any) -> InternalError:
    shown = presentable(repr(answer), _MOST_SHOWN)
    return InternalError(f"the server answered an error without code and message: {shown}")


class ProtocolError(Exception):
    """The peer broke the protocol; the connection cannot be used any more."""


class LocalProtocolError(Exception):
    """This side was about to break the protocol. Nothing was sent and nothing changed."""


class EncodeError(builtins.TypeError, builtins.OverflowError, builtins.ValueError):
    """A value that ThingsDB or a store cannot take, such as a set or an integer of more than 64 bits.

    Nothing was sent, and nothing changed.

    python-thingsdb lets each of the three bases through, depending on the value.
    """


class TextEncodeError(builtins.UnicodeEncodeError, EncodeError):
    """Text that is no Unicode, since it has half of a surrogate pair, as a file's odd name may."""

    def __str__(self) -> str:
        return f"ThingsDB cannot take this value: {super().__str__()}"


class NotConnectedError(builtins.ConnectionError):
    """There is no connection and none is being made. The request was not sent."""


class ConnectionLostError(builtins.ConnectionError):
    """The connection died after the request was sent: it may have been executed or not."""
