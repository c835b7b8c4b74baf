"""Events render to JSON whatever their arguments are."""

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.plugin import Event

DEPTHS = [10, *range(300, 1100, 7), 8000]


def nested(depth: int, core: bytes, arg_names: tuple[str, ...]) -> Event:
    """Lists in lists around a value, as any client can emit them."""
    made = Event.create("alerts", "deep")
    return msgspec.structs.replace(made, payload=b"\x91" * depth + core, arg_names=arg_names)


@pytest.mark.parametrize("core", [b"\x01", b"\xc4\x01x"], ids=["int", "bytes"])
@pytest.mark.parametrize("names", [(), ("first",)], ids=["args", "data"])
def test_arguments_nested_deeper_than_python_can_follow_are_shown_as_they_came(
    core: bytes, names: tuple[str, ...]
) -> None:
    as_they_came = 0
    for depth in DEPTHS:
        event = nested(depth, core, names)
        text = event.json()
        assert msgspec.json.decode(text, type=dict[str, msgspec.Raw]).keys() >= {"id", "args", "room"}
        assert event.record()["id"] == event.id
        packed = base64.b64encode(event.payload)
        if b'"args":[{"base64":"' + packed + b'"}]' in text:
            as_they_came += 1
        else:
            assert text.count(b"[") >= depth
    assert 0 < as_they_came < len(DEPTHS)


@given(
    st.lists(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | st.floats()
            | st.text()
            | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        )
    )
)
def test_the_line_and_the_record_say_the_same(args: list[object]) -> None:
    event = Event.create("alerts", "any", args)
    assert json.loads(event.json()) == json.loads(json.dumps(event.record()))


@pytest.mark.parametrize(
    ("packed", "pairs"),
    [
        (b"\x82\x01\xa1a\xa11\xa1b", [[1, "a"], ["1", "b"]]),
        (b"\x82\x01\xa1a\xc3\xa1b", [[1, "a"], [True, "b"]]),
        (b"\x82\xc0\xa1a\xa4null\xa1b", [[None, "a"], ["null", "b"]]),
        (b"\x82\xcb" + b"\0" * 8 + b"\xa1a\xcb\x80" + b"\0" * 7 + b"\xa1b", [[0.0, "a"], [-0.0, "b"]]),
        (b"\x82\xa1\xff\xa1a\xa4\\xff\xa1b", [["\\xff", "a"], ["\\xff", "b"]]),
    ],
)
def test_keys_that_would_become_one_lose_no_value(packed: bytes, pairs: list[object]) -> None:
    for named in ((), ("first",)):
        made = msgspec.structs.replace(
            Event.create("alerts", "x", [1], arg_names=named), payload=b"\x91" + packed
        )
        assert json.loads(made.json())["args"] == [{"pairs": pairs}]
        assert made.record()["args"] == [{"pairs": pairs}]
        assert str(json.loads(made.json())["args"]) == str([{"pairs": pairs}]), "also the sign of a zero"
