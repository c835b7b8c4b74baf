"""As `thingsdb.client.baseprotocol`, of which the numbers are of use to programs."""

from enum import IntEnum

from tdbwatch.wire import Kind


class Proto(IntEnum):
    """The types of frames, by python-thingsdb's names."""

    ON_NODE_STATUS = Kind.NODE_STATUS
    ON_WARN = Kind.WARN
    ON_ROOM_JOIN = Kind.ROOM_JOIN
    ON_ROOM_LEAVE = Kind.ROOM_LEAVE
    ON_ROOM_EMIT = Kind.ROOM_EMIT
    ON_ROOM_DELETE = Kind.ROOM_DELETE

    RES_PING = Kind.PONG
    RES_OK = Kind.OK
    RES_DATA = Kind.DATA
    RES_ERROR = Kind.ERROR

    REQ_PING = Kind.PING
    REQ_AUTH = Kind.AUTH
    REQ_QUERY = Kind.QUERY
    REQ_RUN = Kind.RUN
    REQ_JOIN = Kind.JOIN
    REQ_LEAVE = Kind.LEAVE
    REQ_EMIT = Kind.EMIT
    REQ_EMIT_PEER = Kind.EMIT_PEER


class Err(IntEnum):
    """The server's error codes, by python-thingsdb's names; `tdbwatch.exceptions.ErrorCode` has them, too."""

    EX_CANCELLED = -64
    EX_OPERATION_ERROR = -63
    EX_NUM_ARGUMENTS = -62
    EX_TYPE_ERROR = -61
    EX_VALUE_ERROR = -60
    EX_OVERFLOW = -59
    EX_ZERO_DIV = -58
    EX_MAX_QUOTA = -57
    EX_AUTH_ERROR = -56
    EX_FORBIDDEN = -55
    EX_LOOKUP_ERROR = -54
    EX_BAD_DATA = -53
    EX_SYNTAX_ERROR = -52
    EX_NODE_ERROR = -51
    EX_ASSERT_ERROR = -50
    EX_TOO_LARGE_X = -6
    EX_REQUEST_TIMEOUT = -5
    EX_REQUEST_CANCEL = -4
    EX_WRITE_UV = -3
    EX_MEMORY = -2
    EX_INTERNAL = -1
