"""The server's session: takes requests, answers only what the table allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.exceptions import LocalProtocolError, ProtocolError
from tdbwatch.wire import (
    ClientSession,
    Kind,
    Request,
    Response,
    ServerSession,
    Skipped,
    Unknown,
    encode_frame,
    encode_push,
)
from tdbwatch.wire.kinds import ANSWERS, BODILESS, PUSHES, REQUESTS


@pytest.mark.parametrize("asked", sorted(REQUESTS))
@pytest.mark.parametrize("kind", sorted(Kind))
def test_only_the_answers_of_the_table_can_be_said(asked, kind):
    client, server = ClientSession(), ServerSession()
    request_id, data = client.request(asked, None if asked is Kind.PING else ["x"])
    (request,) = server.receive(data)
    if kind in ANSWERS[asked]:
        heard = client.receive(server.answer(request, kind, 7))
        assert heard == [Response(request_id, kind, None if kind in BODILESS else 7)]
    else:
        with pytest.raises(LocalProtocolError):
            server.answer(request, kind, 7)


def test_a_request_is_heard_with_its_body():
    _, data = ClientSession().request(Kind.QUERY, ["@t", "nil;", {"x": 1}])
    assert ServerSession().receive(data) == [Request(0, Kind.QUERY, ["@t", "nil;", {"x": 1}])]


def test_a_body_that_does_not_decode_is_skipped_and_the_stream_goes_on():
    server = ServerSession()
    skipped, ping = server.receive(encode_frame(1, Kind.QUERY, b"\x92") + encode_frame(2, Kind.PING))
    assert (type(skipped), skipped.id) == (Skipped, 1)
    assert ping == Request(2, Kind.PING)
    assert server.error is None


@pytest.mark.parametrize("kind", sorted(set(range(256)) - REQUESTS))
def test_what_is_no_request_is_unknown(kind):
    assert ServerSession().receive(encode_frame(1, kind)) == [Unknown(1, kind)]


def test_a_wrong_check_byte_fails_the_stream_after_what_came_before_it():
    server = ServerSession()
    heard = server.receive(encode_frame(1, Kind.PING) + b"\0\0\0\0\x07\0\x20\0")
    assert heard == [Request(1, Kind.PING)]
    assert isinstance(server.error, ProtocolError)
    with pytest.raises(LocalProtocolError):
        server.answer(heard[0], Kind.PONG)


def test_a_body_over_the_limit_fails_the_stream():
    server = ServerSession(max_body=4)
    assert server.receive(encode_frame(1, Kind.QUERY, b"12345")) == []
    assert isinstance(server.error, ProtocolError)


@pytest.mark.parametrize("kind", sorted(set(Kind) - PUSHES))
def test_only_pushes_can_be_pushed(kind):
    with pytest.raises(LocalProtocolError):
        encode_push(kind, {})


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_of_a_client_ever_raise(pieces):
    server = ServerSession()
    for piece in pieces:
        server.receive(piece)
