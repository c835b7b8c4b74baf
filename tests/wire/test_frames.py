"""Frames: any chunking gives the same frames, and nothing that a peer sends raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.exceptions import ProtocolError
from tdbwatch.wire import Frame, FrameDecoder, encode_frame
from tdbwatch.wire.frames import HEADER_SIZE

FRAME = st.builds(Frame, st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.binary(max_size=60))
FRAMES = st.lists(FRAME, max_size=8)
CASES = [Frame(1, 32, b""), Frame(0xFFFF, 8, b"\x80"), Frame(0, 255, b"x" * 300), Frame(258, 0, b"\x00" * 8)]


def bytes_of(frames):
    return b"".join(encode_frame(*frame) for frame in frames)


@st.composite
def cut(draw, streams):
    """A stream in any pieces, empty ones included."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@pytest.mark.parametrize("frame", CASES)
def test_a_frame_arrives_whole(frame):
    decoder = FrameDecoder()
    assert decoder.feed(encode_frame(*frame)) == [frame]
    assert decoder.buffered == 0


@pytest.mark.parametrize("frame", CASES)
def test_a_frame_arrives_byte_by_byte(frame):
    decoder, data = FrameDecoder(), encode_frame(*frame)
    for count, byte in enumerate(data[:-1], start=1):
        assert decoder.feed(bytes([byte])) == []
        assert decoder.buffered == count
    assert decoder.feed(data[-1:]) == [frame]


@pytest.mark.parametrize("frame", CASES)
@pytest.mark.parametrize(
    "trailing", [b"\x01", b"\x05\x00\x00\x00\x01\x00\x20", b"\x05\x00\x00\x00\x01\x00\x20\xdfab"]
)
def test_bytes_after_a_frame_wait_for_their_rest(frame, trailing):
    decoder = FrameDecoder()
    assert decoder.feed(encode_frame(*frame) + trailing) == [frame]
    assert decoder.buffered == len(trailing)
    assert decoder.error is None


@given(FRAMES.map(bytes_of).flatmap(lambda stream: st.tuples(st.just(stream), cut(st.just(stream)))))
def test_any_chunking_gives_the_frames_of_one_feed(case):
    stream, pieces = case
    decoder = FrameDecoder()
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == FrameDecoder().feed(stream)
    assert decoder.buffered == 0


@given(FRAMES)
def test_encoding_and_decoding_agree(frames):
    assert FrameDecoder().feed(bytes_of(frames)) == frames


@given(cut(st.binary(max_size=400)))
def test_garbage_never_raises_and_ends_the_same_in_any_chunking(pieces):
    decoder, once = FrameDecoder(max_body=100), FrameDecoder(max_body=100)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert frames == once.feed(b"".join(pieces))
    assert str(decoder.error) == str(once.error)


@given(FRAMES, FRAME, st.integers(1, 0xFF), cut(st.binary(max_size=40)))
def test_frames_before_a_wrong_check_byte_are_kept_and_all_after_is_ignored(good, bad, flip, rest):
    broken = bytearray(encode_frame(*bad))
    broken[7] ^= flip
    decoder = FrameDecoder()
    assert decoder.feed(bytes_of(good) + broken) == good
    assert isinstance(decoder.error, ProtocolError)
    assert [decoder.feed(piece) for piece in [*rest, bytes_of(good)]] == [[]] * (len(rest) + 1)


def test_a_frame_over_the_limit_is_an_error_before_its_body_arrives():
    decoder = FrameDecoder(max_body=10)
    assert decoder.feed(encode_frame(1, 18, b"x" * 10)) == [Frame(1, 18, b"x" * 10)]
    assert decoder.feed(encode_frame(2, 18, b"x" * 11)[:HEADER_SIZE]) == []
    assert "11 bytes exceeds the limit of 10" in str(decoder.error)


def test_a_header_that_lies_about_its_length_reserves_no_memory():
    decoder = FrameDecoder()
    decoder.feed(encode_frame(1, 18, b"")[4:].rjust(HEADER_SIZE, b"\x00"))
    decoder.feed((100 * 1024 * 1024).to_bytes(4, "little") + encode_frame(1, 18)[4:])
    assert decoder.buffered == HEADER_SIZE
