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
