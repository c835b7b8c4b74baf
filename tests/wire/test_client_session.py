"""The client's session: numbers requests, matches answers, survives what a server may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.exceptions import LocalProtocolError, ProtocolError
from tdbwatch.wire import (
    ClientSession,
    Emit,
    FrameDecoder,
    Kind,
    NodeStatus,
    RawEmit,
    Response,
    Skipped,
    Unknown,
    encode,
    encode_frame,
    encode_push,
)
from tdbwatch.wire.codec import BodyError
from tdbwatch.wire.kinds import ANSWERS, BODILESS, PUSH_ID, PUSHES, REQUESTS, RESPONSES

BODIES = {
    Kind.PING: None,
    Kind.AUTH: ["admin", "pass"],
    Kind.QUERY: ["@t", "nil;"],
    Kind.RUN: ["//stuff", "add_one", [1]],
    Kind.JOIN: ["//stuff", 3],
    Kind.LEAVE: ["//stuff", 3],
    Kind.EMIT: ["//stuff", 3, "e"],
    Kind.EMIT_PEER: ["//stuff", 3, "e"],
}


def answer(request_id, kind, value=7):
    return encode_frame(request_id, kind, b"" if kind in BODILESS else encode(value))


@pytest.mark.parametrize("asked", sorted(REQUESTS))
@pytest.mark.parametrize("answered", sorted(RESPONSES))
def test_only_the_answers_of_the_table_close_a_request(asked, answered):
    session = ClientSession()
    request_id, _ = session.request(asked, BODIES[asked])
    heard = session.receive(answer(request_id, answered))
    if answered in ANSWERS[asked]:
        assert heard == [Response(request_id, answered, None if answered in BODILESS else 7)]
        assert (session.error, session.outstanding) == (None, 0)
    else:
        assert heard == []
        assert isinstance(session.error, ProtocolError)
        assert session.outstanding == 1


@pytest.mark.parametrize("kind", sorted(set(Kind) - REQUESTS))
def test_what_is_no_request_cannot_be_asked_and_changes_nothing(kind):
    session = ClientSession()
    with pytest.raises(LocalProtocolError):
        session.request(kind)
    assert session.outstanding == 0


@pytest.mark.parametrize("kind", sorted(REQUESTS))
def test_a_request_from_the_server_fails_the_stream(kind):
    session = ClientSession()
    assert session.receive(encode_frame(1, kind)) == []
    assert "only clients send" in str(session.error)


def test_nothing_is_heard_or_said_after_the_stream_failed():
    session = ClientSession()
    emit = encode_push(Kind.ROOM_EMIT, {"id": 1, "event": "e"})
    heard = session.receive(emit + encode_frame(1, Kind.PING) + emit)
    assert heard == [Emit(1, "e")]
    with pytest.raises(LocalProtocolError, match="stream has failed"):
        session.request(Kind.PING)
    assert session.outstanding == 0


def test_everything_before_a_broken_frame_is_heard():
    session = ClientSession()
    request_id, _ = session.request(Kind.QUERY, BODIES[Kind.QUERY])
    emit = encode_push(Kind.ROOM_EMIT, {"id": 1, "event": "e"})
    status = encode_push(Kind.NODE_STATUS, {"id": 0, "status": "AWAY"})
    heard = session.receive(status + answer(request_id, Kind.DATA) + emit + b"\xff" * 8)
    assert heard == [NodeStatus(0, "AWAY"), Response(request_id, Kind.DATA, 7), Emit(1, "e")]
    assert isinstance(session.error, ProtocolError)


def test_nothing_is_heard_in_later_bytes_once_the_stream_failed():
    session = ClientSession()
    session.receive(encode_frame(1, Kind.PING))
    assert session.receive(encode_push(Kind.ROOM_EMIT, {"id": 1, "event": "e"})) == []


def test_the_id_of_a_forgotten_request_stays_reserved_until_it_is_answered():
    session = ClientSession()
    forgotten, _ = session.request(Kind.QUERY, ["@t", "nil;"])
    session.forget(forgotten)
    others = {session.request(Kind.PING)[0] for _ in range(PUSH_ID - 1)}
    assert forgotten not in others
    assert len(others) == PUSH_ID - 1
    with pytest.raises(LocalProtocolError, match="no id is free"):
        session.request(Kind.PING)
    assert session.receive(answer(forgotten, Kind.DATA)) == []
    assert session.request(Kind.PING)[0] == forgotten


def test_the_id_of_the_pushes_is_never_given_to_a_request():
    session = ClientSession()
    for _ in range(PUSH_ID + 10):
        request_id, _ = session.request(Kind.PING)
        assert request_id != PUSH_ID
        session.receive(answer(request_id, Kind.PONG))


def test_forgetting_what_is_not_outstanding_changes_nothing():
    session = ClientSession()
    session.forget(5)
    request_ids = [session.request(Kind.PING)[0] for _ in range(6)]
    heard = session.receive(b"".join(answer(each, Kind.PONG) for each in request_ids))
    assert [each.id for each in heard] == request_ids


def test_an_answer_that_nobody_waits_for_is_skipped_and_the_stream_goes_on():
    session = ClientSession()
    (heard,) = session.receive(answer(3, Kind.DATA))
    assert isinstance(heard, Skipped)
    assert session.error is None


def test_a_type_from_a_newer_server_is_unknown_and_the_stream_goes_on():
    session = ClientSession()
    assert session.receive(encode_frame(3, 99, b"?")) == [Unknown(3, 99)]
    assert session.error is None


@pytest.mark.parametrize("kind", sorted(PUSHES))
def test_a_push_whose_body_does_not_decode_is_skipped_and_the_stream_goes_on(kind):
    session = ClientSession()
    skipped, emit = session.receive(
        encode_frame(PUSH_ID, kind, b"\x81") + encode_push(Kind.ROOM_EMIT, {"id": 1, "event": "e"})
    )
    assert (skipped.kind, type(skipped)) == (kind, Skipped)
    assert emit == Emit(1, "e")


def test_an_answer_whose_body_does_not_decode_still_reaches_who_asked():
    session = ClientSession()
    request_id, _ = session.request(Kind.QUERY, ["@t", "nil;"])
    (response,) = session.receive(encode_frame(request_id, Kind.DATA, b"\x92\x01"))
    assert response.id == request_id
    assert isinstance(response.value, BodyError)


def test_an_emit_of_a_server_before_1_8_6_has_no_scope():
    (emit,) = ClientSession().receive(encode_push(Kind.ROOM_EMIT, {"id": 1, "event": "e", "args": [1]}))
    assert emit == Emit(1, "e", (1,), None)


def test_unknown_keys_in_a_push_are_ignored():
    body = {"id": 1, "event": "e", "args": [], "scope": "@collection:stuff", "newer": {"a": 1}}
    assert ClientSession().receive(encode_push(Kind.ROOM_EMIT, body)) == [
        Emit(1, "e", (), "@collection:stuff")
    ]


def test_raw_events_keep_their_arguments_as_they_came():
    args = [1, {"a": [2.5, b"\x00"]}, "é"]
    (emit,) = ClientSession(raw_events=True).receive(
        encode_push(Kind.ROOM_EMIT, {"scope": "@collection:stuff", "id": 1, "event": "e", "args": args})
    )
    assert isinstance(emit, RawEmit)
    assert bytes(emit.args) == encode(args)


BYTES = st.binary(max_size=200)
PLAUSIBLE = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, PUSH_ID]), st.integers(0, 60), st.binary(max_size=30)), max_size=10
).map(lambda frames: b"".join(encode_frame(*frame) for frame in frames))


@given(st.lists(BYTES | PLAUSIBLE, max_size=5), st.booleans())
def test_no_bytes_of_a_server_ever_raise(pieces, raw):
    session = ClientSession(raw_events=raw)
    for kind in (Kind.PING, Kind.QUERY, Kind.EMIT):
        session.request(kind, BODIES[kind])
    for piece in pieces:
        session.receive(piece)
    assert session.outstanding <= 3


@given(PLAUSIBLE, st.data())
def test_the_pieces_in_which_it_arrives_do_not_change_what_is_heard(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    whole, cut = ClientSession(), ClientSession()
    for session in (whole, cut):
        session.request(Kind.QUERY, BODIES[Kind.QUERY])
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    heard = [each for piece in pieces for each in cut.receive(piece)]
    assert repr(heard) == repr(whole.receive(stream))
    assert str(cut.error) == str(whole.error)


@given(st.lists(st.sampled_from(["ask", "forget", "answer"]), max_size=60), st.randoms(use_true_random=False))
def test_every_answer_finds_its_request_whatever_the_order(steps, random):
    session = ClientSession()
    waiting, forgotten = set(), set()
    for step in steps:
        taken = sorted(waiting | forgotten)
        if step == "ask":
            request_id, data = session.request(Kind.QUERY, BODIES[Kind.QUERY])
            assert request_id not in taken
            assert FrameDecoder().feed(data)[0].id == request_id
            waiting.add(request_id)
        elif step == "forget" and waiting:
            chosen = random.choice(sorted(waiting))
            session.forget(chosen)
            waiting.remove(chosen)
            forgotten.add(chosen)
        elif step == "answer" and taken:
            chosen = random.choice(taken)
            heard = session.receive(answer(chosen, Kind.DATA))
            assert heard == ([Response(chosen, Kind.DATA, 7)] if chosen in waiting else [])
            waiting.discard(chosen)
            forgotten.discard(chosen)
        assert session.outstanding == len(waiting) + len(forgotten)
