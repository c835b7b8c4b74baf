"""Events that would eat the memory are counted without being decoded, and become dead letters."""

from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.bounds import MOST_VALUES, has_more_values
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock
from tests.daemon.spool.spool_kit import spool_at

from .courier_kit import Bench

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(width=32)
    | st.just(msgpack.Timestamp(1))
    | st.text(max_size=40)
    | st.sampled_from(["x" * 300, "x" * 70_000, b"x" * 300, b"x" * 70_000])
    | st.binary(max_size=40)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=300)),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=3), inner, max_size=20),
    max_leaves=60,
)


def count(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    if isinstance(value, dict):
        return 1 + sum(1 + count(item) for item in value.values())
    return 1


@given(VALUES, st.booleans())
def test_values_are_counted_as_decoding_makes_them(value: Any, single: bool) -> None:
    packed = msgpack.packb(value, use_single_float=single)
    values = count(value)
    assert not has_more_values(packed, values)
    assert has_more_values(packed, values - 1)


def heavy() -> Event:
    event = Event.create("alerts", "heavy")
    size = MOST_VALUES + 1
    return Event(
        event.id,
        "event",
        1,
        "//stuff",
        "alerts",
        1,
        "heavy",
        b"\xdd" + size.to_bytes(4, "big") + b"\x80" * size,
    )


@pytest.mark.parametrize("batch", [1, 10])
async def test_an_event_of_too_many_values_is_a_dead_letter_and_all_others_are_delivered(
    bench: Bench, batch: int
) -> None:
    _, sink = bench.courier(batch=BatchLimits(batch, 1 << 23))
    large = Event.create("alerts", "large", ["x" * (MOST_VALUES + 1)])
    await bench.append([Event.create("alerts", "e", [1]), heavy(), large, Event.create("alerts", "e", [2])])
    await bench.pass_time(1)
    assert [event.args[0] for event in sink.taken] == [1, large.args[0], 2]
    [(_, _, reason, *_)] = await bench.letters()
    assert reason.startswith("it has 1,000,006 bytes with more than 1,000,000 values")


async def test_sinks_that_read_the_same_from_the_file_share_it_while_anybody_holds_it(path: Path) -> None:
    clock = ManualClock()
    before = spool_at(path, clock=clock)
    await before.open()
    before.append(heard([Event.create("alerts", "e", [number]) for number in range(5)]))
    await before.close()
    spool = spool_at(path, clock=clock)
    await spool.open()
    [one] = await spool.read(0, 1 << 20)
    [other] = await spool.read_lane(Lane("//stuff", "alerts"), 0, 5, 1 << 20)
    assert one is other
    assert one.events is other.events
    await spool.close()


def test_no_answer_is_kept_for_names_and_arguments_that_are_long() -> None:
    router = Router.of_names([], ["sink"])
    for number in range(9):
        assert router.sinks_for(Event.create("alerts", f"{number}" * 1000)) == {"sink"}
        assert router.takes("event", "//stuff", "alerts", f"{number}" * 1000)
    assert router.remembered == 0
    assert router.sinks_for(Event.create("alerts", "short")) == {"sink"}
    assert router.remembered == 1
