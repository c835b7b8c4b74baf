"""Bodies: what is encoded decodes to the same, and msgspec agrees with msgpack about every value."""

import contextlib
import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.exceptions import EncodeError
from tdbwatch.wire import decode, encode
from tdbwatch.wire.codec import BodyError, decode_leniently

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text("abc#é", max_size=6), inner, max_size=5)
    ),
    max_leaves=15,
)


def same(left, right):
    """Equal in value and in type: 1, 1.0 and True are three values."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return left == right


@given(VALUES)
def test_a_value_comes_back_as_it_was(value):
    assert same(decode(encode(value)), value)


@given(VALUES)
def test_msgspec_and_msgpack_decode_the_same(value):
    body = encode(value)
    assert same(decode(body), msgpack.unpackb(body))


def test_nan_stays_nan():
    assert math.isnan(decode(encode(math.nan)))


@given(st.binary(max_size=200))
def test_any_body_decodes_or_is_a_body_error(body):
    for decoder in (decode, decode_leniently):
        with contextlib.suppress(BodyError):
            decoder(body)


@given(VALUES.filter(lambda value: len(encode(value)) > 1), st.data())
def test_a_truncated_body_is_an_error(value, data):
    body = encode(value)
    with pytest.raises(BodyError):
        decode(body[: data.draw(st.integers(0, len(body) - 1))])


@given(VALUES, st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_an_error(value, trailing):
    with pytest.raises(BodyError):
        decode(encode(value) + trailing)


def test_nesting_without_end_is_an_error():
    with pytest.raises(BodyError):
        decode(b"\x91" * 100_000 + b"\xc0")
    with pytest.raises(BodyError):
        decode_leniently(b"\x91" * 100_000 + b"\xc0")


@pytest.mark.parametrize("body", [b"\x81\x91\x80\x01", b"\x81\x80\x01", b"\x81\x91\x91\x80\x01"])
def test_a_map_with_a_key_that_cannot_be_one_is_an_error(body):
    for decoder in (decode, decode_leniently):
        with pytest.raises(BodyError):
            decoder(body)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), {1, 2}, [1, [object()]], "\ud800"])
def test_what_thingsdb_cannot_take_is_an_encode_error(value):
    with pytest.raises(EncodeError, match="ThingsDB cannot take this value"):
        encode(value)


def test_a_value_that_contains_itself_is_an_encode_error():
    loop = []
    loop.append(loop)
    with pytest.raises(EncodeError):
        encode(loop)


def test_text_that_is_not_utf_8_is_an_error_or_is_escaped():
    body = b"\xa3a\xffb"
    with pytest.raises(BodyError):
        decode(body)
    assert decode_leniently(body) == "a\\xffb"
