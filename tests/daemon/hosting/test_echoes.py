"""Echoes: what a sink has emitted is known again when it is heard, and nothing else is taken for it."""

import msgspec
import pytest

from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.daemon.hosting import echoes
from tdbwatch.daemon.hosting.echoes import Echoes, Sent
from tdbwatch.daemon.spool.stored.blocks import Lane, Run
from tdbwatch.plugin.ids import IdMint
from tdbwatch.testing import ManualClock
from tdbwatch.wire.codec import encode

ALERTS = Lane("//stuff", "alerts")


def room(key: int | str, room_id: int, lane: Lane = ALERTS) -> tuple[Lane, Subscription]:
    subscription = Subscription(key, lane.scope, listener=None)  # type: ignore[arg-type]
    subscription.id = room_id
    return lane, subscription


BY_NAME = room("alerts", 3)


def run(*events: tuple[str, list[object]]) -> Run:
    first_id, _, now_us = IdMint().mint_run(len(events))
    payloads = [msgspec.Raw(encode(args)) for _, args in events]
    return Run(first_id, now_us, "event", 3, (), [name for name, _ in events], payloads)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def known(clock: ManualClock) -> Echoes:
    return Echoes(clock)


def hops(known: Echoes, place: tuple[Lane, Subscription], *events: tuple[str, list[object]]) -> list[int]:
    parts = known.marked(*place, run(*events))
    return [part.hops for part in parts for _ in part.events]


def test_an_emit_is_known_again_once_in_each_lane(known: Echoes) -> None:
    known.expect(Sent("@:stuff", "alerts", "x", [1], 4))
    assert hops(known, BY_NAME, ("x", [1]), ("x", [1])) == [4, 0]
    assert hops(known, room(3, 3, Lane("//stuff", "again")), ("x", [1])) == [4]


def test_a_run_is_parted_in_order_and_keeps_its_ids(known: Echoes) -> None:
    known.expect(Sent("//stuff", "alerts", "x", [1], 2))
    heard = run(("a", []), ("x", [1]), ("x", [2]))
    parts = known.marked(*BY_NAME, heard)
    assert [(part.hops, part.events) for part in parts] == [(0, ["a"]), (2, ["x"]), (0, ["x"])]
    ids = [event.id for event in heard.unpacked(ALERTS)]
    assert [event.id for part in parts for event in part.unpacked(ALERTS)] == ids


@pytest.mark.parametrize(
    ("scope", "to", "name", "args"),
    [
        ("//other", "alerts", "x", [1]),
        ("//stuff", "others", "x", [1]),
        ("//stuff", 4, "x", [1]),
        ("//stuff", "alerts", "y", [1]),
        ("//stuff", "alerts", "x", [2]),
    ],
)
def test_what_differs_is_no_echo(
    known: Echoes, scope: str, to: int | str, name: str, args: list[int]
) -> None:
    known.expect(Sent(scope, to, name, args, 1))
    assert hops(known, BY_NAME, ("x", [1])) == [0]


def test_a_room_is_found_by_its_id_and_one_without_a_known_name_by_any(known: Echoes) -> None:
    known.expect(Sent("//stuff", 3, "x", [1], 1))
    known.expect(Sent("//stuff", "alerts", "y", [1], 2))
    assert hops(known, BY_NAME, ("x", [1])) == [1]
    assert hops(known, room(".alerts.id();", 3), ("y", [1])) == [2]


def test_the_server_may_put_the_keys_of_maps_in_another_order(known: Echoes) -> None:
    known.expect(Sent("//stuff", "alerts", "x", [{"b": 1, "a": {"d": 1, "c": None}}], 1))
    assert hops(known, BY_NAME, ("x", [{"a": {"c": None, "d": 1}, "b": 1}])) == [1]


async def test_it_is_forgotten_after_a_while_and_when_it_was_not_sent(
    known: Echoes, clock: ManualClock
) -> None:
    refused = Sent("//stuff", "alerts", "x", [1], 1)
    known.expect(refused)
    known.forget(refused)
    assert hops(known, BY_NAME, ("x", [1])) == [0]
    known.expect(Sent("//stuff", "alerts", "x", [1], 1))
    await clock.advance(echoes.REMEMBERED)
    assert hops(known, BY_NAME, ("x", [1])) == [0]


def test_so_many_are_remembered_and_no_more(known: Echoes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echoes, "MOST", 3)
    for number in range(5):
        known.expect(Sent("//stuff", "alerts", "x", [number], number + 1))
    assert hops(known, BY_NAME, *(("x", [number]) for number in range(5))) == [0, 0, 3, 4, 5]
    for _ in range(4):
        known.expect(Sent("//stuff", "alerts", "same", [], 1))
    assert hops(known, BY_NAME, *[("same", [])] * 4) == [1, 1, 1, 0]
    assert hops(known, BY_NAME, ("x", [4])) == [0]
