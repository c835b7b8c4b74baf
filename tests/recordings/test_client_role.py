"""The recordings in the client's role: `ClientSession` says the same bytes and hears what was said."""

import msgpack
import pytest

from tdbwatch.wire import (
    ClientSession,
    Emit,
    Kind,
    NodeStatus,
    RawEmit,
    Response,
    RoomDelete,
    RoomJoin,
    RoomLeave,
    Warn,
    encode_frame,
)
from tdbwatch.wire.kinds import BODILESS, PUSH_ID, PUSHES, REQUESTS

PUSH_TYPES = {
    Kind.NODE_STATUS: NodeStatus,
    Kind.WARN: Warn,
    Kind.ROOM_JOIN: RoomJoin,
    Kind.ROOM_LEAVE: RoomLeave,
    Kind.ROOM_DELETE: RoomDelete,
    Kind.ROOM_EMIT: lambda args, **rest: Emit(args=tuple(args), **rest),
}


class Replay:
    """One recorded connection, heard by a session. The session numbers its requests itself."""

    def __init__(self, lines, raw_events=False):
        self.lines = lines
        self.session = ClientSession(raw_events=raw_events)
        self.ids = {PUSH_ID: PUSH_ID}

    def say(self, line):
        request_id, data = self.session.request(Kind(line.kind), line.value)
        self.ids[line.id] = request_id
        assert data[:4] + data[6:] == line.frame[:4] + line.frame[6:], "the request's bytes differ"

    def bytes_of(self, line):
        """What the server sent, with the id that our session gave to that request."""
        return encode_frame(self.ids[line.id], line.kind, line.frame[8:])

    def expected(self):
        return [self.expect(line) for line in self.lines if line.who == "s2c"]

    def expect(self, line):
        if line.kind in PUSHES:
            return PUSH_TYPES[Kind(line.kind)](**line.value)
        return Response(self.ids[line.id], line.kind, None if line.kind in BODILESS else line.value)

    def in_order(self):
        """Requests and what is heard, as they came."""
        heard = []
        for line in self.lines:
            if line.who == "s2c":
                heard += self.session.receive(self.bytes_of(line))
            elif is_request(line):
                self.say(line)
        return heard

    def in_pieces(self, size):
        """All requests first, then all that was heard, in pieces of `size` bytes."""
        for line in filter(is_request, self.lines):
            self.say(line)
        stream = b"".join(self.bytes_of(line) for line in self.lines if line.who == "s2c")
        heard = []
        for start in range(0, len(stream), size):
            heard += self.session.receive(stream[start : start + size])
        return heard


def is_request(line):
    return line.who == "c2s" and line.kind in REQUESTS and line.frame[7] == line.kind ^ 0xFF


@pytest.fixture(params=[False, True], ids=["decoded", "raw"])
def replays(recording, request):
    conns = sorted({line.conn for line in recording})
    return [Replay([line for line in recording if line.conn == conn], request.param) for conn in conns]


def decoded(heard):
    """Raw events with their arguments decoded; all else as it is."""
    return [
        Emit(each.id, each.event, tuple(msgpack.unpackb(bytes(each.args))), each.scope)
        if isinstance(each, RawEmit)
        else each
        for each in heard
    ]


def test_the_session_says_and_hears_what_was_recorded(replays):
    for replay in replays:
        heard = replay.in_order()
        assert decoded(heard) == replay.expected()
        assert replay.session.error is None


def test_every_recorded_request_is_settled_by_its_answer(replays):
    for replay in replays:
        replay.in_order()
        assert replay.session.outstanding == 0


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_the_pieces_in_which_a_recording_arrives_do_not_matter(replays, size):
    for replay in replays:
        heard = replay.in_pieces(size)
        assert decoded(heard) == replay.expected()
