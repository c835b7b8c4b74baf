"""Of an emit that does not decode as much is kept as can be; a daemon must not lose what it could show."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.wire import ClientSession, Kind, RawEmit, Skipped, UnreadableEmit, decode, encode_push
from tdbwatch.wire.frames import encode_frame
from tdbwatch.wire.kinds import PUSH_ID
from tdbwatch.wire.salvage import readable, salvage

SCOPE = "@collection:stuff"


def envelope(args: bytes, event: bytes = b"\xa1e", room: bytes = b"\x01") -> bytes:
    scope = msgpack.packb(SCOPE)
    return b"\x84\xa5scope" + scope + b"\xa2id" + room + b"\xa5event" + event + b"\xa4args" + args


def heard(body: bytes, **options: bool) -> object:
    [one] = ClientSession(**options).receive(encode_frame(PUSH_ID, Kind.ROOM_EMIT, body))
    return one


def test_arguments_nested_3000_levels_deep_are_kept_as_bytes() -> None:
    deep = b"\x91" * 3_000 + b"\xc0"
    emit = heard(envelope(deep), raw_events=True)
    assert type(emit) is RawEmit
    assert (emit.scope, emit.id, emit.event) == (SCOPE, 1, "e")
    assert decode(bytes(readable(emit.args))) == [deep]


def test_an_event_whose_name_is_not_utf8_keeps_its_odd_bytes() -> None:
    emit = heard(envelope(b"\x91\x05", event=b"\xa3a\xffb"), raw_events=True)
    assert type(emit) is RawEmit
    assert (emit.event, decode(bytes(emit.args))) == (r"a\xffb", [5])


@pytest.mark.parametrize(
    "body",
    [
        envelope(b"\x90", event=b"\x05"),
        envelope(b"\x90", event=b"\xc1"),
        envelope(b"")[:-5],
        envelope(b"\x90")[:-8],
    ],
)
def test_nonsense_in_the_envelope_is_an_unreadable_emit_of_its_room(body: bytes) -> None:
    emit = heard(body, raw_events=True)
    assert type(emit) is UnreadableEmit
    assert (emit.scope, emit.id) == (SCOPE, 1)
    assert decode(bytes(emit.args)) == [body]


def test_arguments_that_do_not_end_are_kept_as_bytes() -> None:
    emit = heard(envelope(b"\x95\x01"), raw_events=True)
    assert (emit.event, decode(bytes(emit.args))) == ("e", [b"\x95\x01"])


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x90", b"\xdf\xff\xff\xff\xff", envelope(b"\x90", room=b"\xa1x")]
)
def test_without_its_room_nothing_of_an_emit_can_be_kept(body: bytes) -> None:
    assert type(heard(body, raw_events=True)) is Skipped


def test_a_program_that_wants_decoded_events_is_not_given_bytes() -> None:
    assert type(heard(envelope(b"\x95\x01"))) is Skipped


@pytest.mark.parametrize("head", [b"\x91", b"\x81\xc0", b"\xdd\x00\x00\x00\x01"])
@pytest.mark.parametrize("levels", [601, 980, 990, 997, 998, 1_024, 1_025, 3_000, 9_996, 100_000])
def test_what_decodes_here_and_might_not_elsewhere_is_bytes_too(levels: int, head: bytes) -> None:
    args = b"\x91" + head * (levels - 1) + b"\xc0"
    assert decode(bytes(readable(heard_raw(args)))) == [args]


def test_600_levels_stay_as_they_are_on_any_stack() -> None:
    args = b"\x91" * 600 + b"\xc0"

    def below(frames: int) -> bytes:
        return below(frames - 1) if frames else bytes(readable(heard_raw(args)))

    assert below(0) == below(200) == args


def heard_raw(args: bytes):
    emit = ClientSession(raw_events=True).receive(encode_frame(PUSH_ID, Kind.ROOM_EMIT, envelope(args)))[0]
    return emit.args


def test_large_flat_arguments_stay_as_they_are() -> None:
    emit = {"scope": SCOPE, "id": 1, "event": "e", "args": [[n, [n]] for n in range(5_000)]}
    [one] = ClientSession(raw_events=True).receive(encode_push(Kind.ROOM_EMIT, emit))
    assert bytes(readable(one.args)) == bytes(one.args)


@given(st.binary(max_size=64), st.integers(0, 64))
def test_no_bytes_make_it_raise(noise: bytes, at: int) -> None:
    body = envelope(b"\x91\x05")
    salvage(body[:at] + noise + body[at:])
    salvage(noise)
