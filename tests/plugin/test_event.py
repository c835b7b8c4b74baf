"""Events render to JSON whatever their arguments are."""

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.plugin import Event, Kind
from tdbwatch.plugin.batch import Batch, headers, json_lines
from tdbwatch.plugin.event import Header

DEPTHS = [10, *range(300, 1100, 7), 8000]
ARGS = st.lists(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


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


def test_what_records_of_other_kinds_carry_is_shown_however_deep_it_nests() -> None:
    """A dead letter's record holds that of its event, as deep as any client can emit it."""
    for depth in range(440, 508, 3):
        deep: object = 1
        for _ in range(depth):
            deep = [deep]
        event = Event.create("alerts", "x", kind=Kind.DEAD_LETTER, details={"sink": "a", "record": deep})
        assert event.record()["sink"] == "a"
        assert b'"sink":"a"' in event.json()
        assert b'"record":' in event.json()


@given(ARGS)
def test_the_line_and_the_record_say_the_same(args: list[object]) -> None:
    event = Event.create("alerts", "any", args)
    assert json.loads(event.json()) == json.loads(json.dumps(event.record()))


RUNS = st.builds(
    lambda name, names, room_id, many: [
        Event.create("alerts", name, args, arg_names=names, room_id=room_id, received_us=1) for args in many
    ],
    st.text() | st.just("\ud800"),
    st.sampled_from([(), (), ("first",)]),
    st.none() | st.integers(1, 9),
    st.lists(ARGS | st.just(["plain", 1, {"a": ["b\n"]}]), max_size=5),
)
"""Neighbours with all but their arguments in common, as they lie in a block; most of them plain."""


@given(st.lists(RUNS, max_size=3), st.integers(0, 400), st.booleans())
def test_rendered_together_events_are_what_they_are_alone(
    runs: list[list[Event]], repeated: int, deep: bool
) -> None:
    events = [event for run in runs for event in run]
    events += [Event.create("alerts", "e", [n], kind="event" if n % 7 else "gap") for n in range(repeated)]
    events += [nested(300, b"\x01", ())] * deep
    alone = [msgspec.structs.replace(event).json() for event in events]
    assert json_lines(events) == alone
    assert json_lines(events) == alone, "the second time they are remembered"


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


def made_of(*packed: bytes) -> Event:
    return msgspec.structs.replace(Event.create(), payload=bytes([0x90 | len(packed)]) + b"".join(packed))


@pytest.mark.parametrize(
    ("packed", "shown"),
    [
        (b"\xd4\x05\x00", {"ext": 5, "base64": "AA=="}),
        (b"\xc7\x03\x80abc", {"ext": -128, "base64": "YWJj"}),
        (b"\xd6\xff\x00\x00\x00\x01", {"ext": -1, "base64": "AAAAAQ=="}),
    ],
)
@pytest.mark.parametrize("beside", [b"\x01", b"\xa1\xff"])
def test_extension_types_are_shown_by_their_code_and_bytes(
    packed: bytes, shown: object, beside: bytes
) -> None:
    event = made_of(packed, beside)
    assert json.loads(event.json())["args"][0] == event.record()["args"][0] == shown


@pytest.mark.parametrize(
    "keys",
    [
        (b"\x01", b"\xc3"),
        (b"\x00", b"\xc2"),
        (b"\x01", b"\xcb\x3f\xf0" + bytes(6)),
        (b"\xcb" + bytes(8), b"\xcb\x80" + bytes(7)),
    ],
)
def test_plugins_are_given_every_value_of_a_map_whose_keys_are_one_in_python(
    keys: tuple[bytes, bytes],
) -> None:
    event = made_of(b"\x82" + keys[0] + b"\xa1a" + keys[1] + b"\xa1b")
    [pairs] = event.args
    assert [value for _, value in pairs] == ["a", "b"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text() | st.binary(), st.lists, max_leaves=9
    )
)
def test_arguments_are_the_same_whichever_way_they_are_decoded(value: object) -> None:
    event = Event.create(args=[value, {"k": value}, {1: value}])
    assert event.args == [value, {"k": value}, {1: value}]


def test_a_batch_makes_its_events_only_once_somebody_looks_at_one_and_is_the_sinks_own_to_change() -> None:
    sent = [Event.create("a", "e", [n]) for n in range(3)]
    made = list[str]()

    class Some:
        count = 3
        lines = tuple(event.json() for event in sent)
        headers = tuple(Header("event", 1, "//stuff", "a", "e") for _ in sent)

        @property
        def events(self) -> list[Event]:
            made.append("events")
            return list(sent)

    batch = Batch([Some()])
    assert (len(batch), json_lines(batch), made) == (3, [event.json() for event in sent], [])
    assert (headers(batch), made) == (list(Some.headers), [])
    assert batch == sent
    assert (batch[0], batch[1:], list(batch)) == (sent[0], sent[1:], sent)
    del batch[0]
    batch.append(sent[0])
    batch[0] = sent[2]
    assert json_lines(batch) == [event.json() for event in (sent[2], sent[2], sent[0])]
    assert headers(batch) == [sent[2], sent[2], sent[0]]
    batch.clear()
    assert (len(batch), json_lines(batch), made) == (0, [], ["events"])


def test_hops_are_in_the_record_where_there_are_some() -> None:
    events = [Event.create("alerts", "x", [number], hops=number) for number in (0, 1, 0, 2)]
    records = [json.loads(line) for line in json_lines(events)]
    assert [record.get("hops", 0) for record in records] == [0, 1, 0, 2]
    assert [event.record() for event in events] == records
    assert "hops" not in records[0]
