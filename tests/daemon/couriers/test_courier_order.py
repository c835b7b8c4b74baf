"""What keeps its order is what a sink says: a room, what has a key in it, or nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.ordering import key_of
from tdbwatch.plugin import DELIVERED, Event, Kind, Retry
from tdbwatch.testing import ManualClock, settle
from tests.daemon.spool.spool_kit import making

from .courier_kit import Bench


def event(host: str, number: int) -> Event:
    return Event.create("disks", "e", [number, {"host": host}])


BY_HOST = key_of("args[1].host")


def sick(batch: Any) -> Any:
    """Never takes anything of one host."""
    return [Retry("no") if one.args[1]["host"] == "sick" else DELIVERED for one in batch]


def test_the_key_is_that_of_the_expression_and_what_has_none_has_one_together() -> None:
    order = key_of("args[1].host")
    assert order is not None
    assert (order(event("a", 1)), order(event("b", 2))) == ("a", "b")
    gap, short, odd = Event.create(kind=Kind.GAP), Event.create(args=[1]), Event.create(args=[1, {"host": 7}])
    assert (order(gap), order(short), order(odd)) == ("", "", "7")
    assert order(Event.create(args=[1, {"host": "x"}, [0] * 1_000_001])) == "", "it is not decoded"
    none = key_of("none")
    assert none is not None
    assert none(gap) != none(short)
    assert key_of("room") is None


async def test_other_keys_of_a_room_go_on_while_one_waits_and_each_keeps_its_order(bench: Bench) -> None:
    courier, sink = bench.courier(sick, order=BY_HOST, batch=BatchLimits(count=2))
    await bench.append([event("sick" if n % 5 == 0 else f"well{n % 3}", n) for n in range(100)])
    await bench.pass_time(0.5)
    well = [n for n in range(100) if n % 5]
    assert sorted(sink.got) == well
    for host in range(3):
        own = [n for n in sink.got if n % 3 == host]
        assert own == sorted(own)
    assert courier.status().lag == 20
    sink.answer = lambda batch: None
    await bench.pass_time(10)
    assert sink.got[80:] == list(range(0, 100, 5)), "and the sick one's come in their order"


async def test_several_batches_of_a_room_are_in_flight_where_it_has_no_order(bench: Bench) -> None:
    hold = asyncio.Event()

    async def answer(_: Any) -> None:
        await hold.wait()

    courier, sink = bench.courier(answer, order=key_of("none"), batch=BatchLimits(count=2), max_in_flight=3)
    await bench.emit(*range(10))
    assert sink.offered == [[0, 1], [2, 3], [4, 5]]
    sink.answer = lambda batch: None
    hold.set()
    await settle()
    assert (len(sink.batches), courier.status().lag) == (5, 0)


async def test_what_one_key_cannot_have_is_all_that_comes_again_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with making(tmp_path, clock=clock) as make:
        bench = Bench(await make(), clock)
        courier, first = bench.courier(sick, order=BY_HOST)
        for start in range(0, 60, 10):
            await bench.append(
                [event("sick" if n % 20 == 7 else "well", n) for n in range(start, start + 10)]
            )
            await settle()
        assert len(first.got) == 57
        await courier.stop(1)
    async with making(tmp_path, clock=clock) as make:
        bench = Bench(await make(), clock)
        courier, second = bench.courier(order=BY_HOST)
        await bench.pass_time(5)
        assert second.got == [7, 27, 47]
        await courier.stop(1)


@pytest.mark.parametrize(("before", "after"), [(BY_HOST, None), (None, BY_HOST), (BY_HOST, key_of("none"))])
async def test_another_order_after_a_restart_loses_nothing_and_repeats_nothing(
    tmp_path: Path, before: Any, after: Any
) -> None:
    clock, got = ManualClock(), list[int]()
    for start, order, answer in ((0, before, sick), (9, after, sick), (18, before, lambda batch: None)):
        async with making(tmp_path, clock=clock) as make:
            bench = Bench(await make(), clock)
            courier, sink = bench.courier(answer, order=order)
            await bench.append([event("sick" if n % 4 == 2 else "well", n) for n in range(start, start + 9)])
            await bench.pass_time(5)
            got += sink.got
            await courier.stop(1)
    assert sorted(got) == list(range(27))
