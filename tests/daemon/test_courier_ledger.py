"""The ledger and the verdicts: what may go next, whatever sinks answer."""

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.couriers.ledger import Ledger
from tdbwatch.daemon.couriers.parcel import Parcel, Wait
from tdbwatch.daemon.couriers.settings import BatchLimits
from tdbwatch.daemon.couriers.verdict import VerdictError, judge
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool import Entry
from tdbwatch.daemon.spool.api import Past
from tdbwatch.plugin import DELIVERED, Delivered, Event, Rejected, Retry


def entry(seq: int, room: str = "r", size: int = 0) -> Entry:
    return Entry(seq, Event.create(room, "e", [seq, "x" * size]))


@settings(max_examples=300, deadline=None)
@given(rooms=st.lists(st.sampled_from("abcd"), max_size=40), seed=st.integers())
def test_every_entry_is_finished_once_and_rooms_keep_their_order(rooms: list[str], seed: int) -> None:
    rng = random.Random(seed)
    ledger = Ledger(
        0,
        BatchLimits(count=rng.randint(1, 6), max_bytes=rng.choice([1, 1500, 1 << 20])),
        max_in_flight=(most := rng.randint(1, 4)),
        max_ahead=100,
    )
    log = [entry(seq, room) for seq, room in enumerate(rooms, 1)]
    ledger.remember(failed := pasts(log, rng), 0, 0, RetryPolicy(max_attempts=rng.choice([None, 4])))
    oracle = Oracle(ledger, log, set(failed))
    unread, again = log, log[:0]
    in_flight: list[Parcel] = []
    finished: list[Entry] = []
    for now in range(5000):
        if len(finished) == len(rooms):
            break
        if unread and rng.random() < 0.5:
            count = rng.randint(1, 9)
            some, unread = unread[:count], unread[count:]
            ledger.add(some, some[-1].seq, now)
        if rng.random() < 0.3:
            ledger.let_go(patient=rng.random() < 0.5)
        again = read_again(ledger, log, again, now, rng)
        assert ledger.behind == len(log) - len(unread) - len(finished)
        way = rng.choice(["next", "probe", "untried"])
        while (parcel := ask(ledger, way, now)) is not None:
            held = {room for other in in_flight for room in other.rooms()}
            assert not held & parcel.rooms(), "never two parcels with events of one room"
            oracle.check_goes(parcel, way, finished, in_flight)
            in_flight.append(parcel)
        if way != "next" and len(in_flight) < most:
            assert not oracle.ready(finished, in_flight), "what was never tried waits for no other room"
        if in_flight:
            finished += oracle.answer(in_flight.pop(rng.randrange(len(in_flight))), now, rng)
        done = {one.seq for one in finished}
        first_open = next(seq for seq in range(1, len(rooms) + 2) if seq not in done)
        assert ledger.cursor <= first_open - 1
        assert ledger.cursor == first_open - 1 or ledger.read_again_from == ledger.cursor + 1
    by_room: dict[str, list[int]] = defaultdict(list)
    for one in finished:
        by_room[one.event.room].append(one.seq)
    assert all(seqs == sorted(seqs) for seqs in by_room.values())
    assert sorted(one.seq for one in finished) == list(range(1, len(rooms) + 1))
    assert (ledger.unfinished, ledger.behind, ledger.cursor) == (0, 0, len(rooms))


def read_again(
    ledger: Ledger, log: list[Entry], again: list[Entry], now: float, rng: random.Random
) -> list[Entry]:
    """As a courier's intake does; what is being read arrives later."""
    if again and rng.random() < 0.5:
        ledger.add_again(again, again[0].seq, again[-1].seq, now)
        return []
    first = ledger.read_again_from
    return again if again or first is None else log[first - 1 :][: rng.randint(1, 9)]


def pasts(log: list[Entry], rng: random.Random) -> dict[int, Past]:
    """What may be known from before a restart: calls with some entries each, not of all that were tried."""
    failed: dict[int, Past] = {}
    for _ in range(rng.choice([0, 0, 1, 3])):
        company = tuple(sorted(rng.sample(range(1, len(log) + 1), rng.randint(0, len(log)))))
        number = rng.randint(1, 3)
        failed |= {seq: Past(number, 0, "no", "no", company) for seq in company if rng.random() < 0.9}
    return failed


def ask(ledger: Ledger, way: str, now: float) -> Parcel | None:
    """As a courier does, whose sink works, is probed, or is not to be probed yet."""
    return ledger.next_untried(now) if way == "untried" else ledger.next(now, probe=way == "probe")


class Oracle:
    """Knows what was tried before: it may not go before what never was."""

    def __init__(self, ledger: Ledger, log: list[Entry], failed: set[int]) -> None:
        self.ledger = ledger
        self.log = log
        newest = {log[seq - 1].event.room: seq for seq in sorted(failed)}
        older = {one.seq for one in log if one.seq < newest.get(one.event.room, 0)}
        self.vague = older - failed
        """Tried, too, for rooms keep their order, but not known to be when these are read before those."""
        self.tried = failed | older

    def ready(self, finished: list[Entry], in_flight: list[Parcel]) -> set[int]:
        """What was never tried and comes first in a room of which nothing is in flight."""
        if self.ledger.has_let_go:
            return set()  # it may have to be read again first
        heads: dict[str, int] = {}
        done = {one.seq for one in finished}
        for one in self.log[: self.ledger.position]:
            if one.seq not in done:
                heads.setdefault(one.event.room, one.seq)
        under_way = {room for parcel in in_flight for _, room in parcel.rooms()}
        return {seq for room, seq in heads.items() if seq not in self.tried and room not in under_way}

    def check_goes(self, parcel: Parcel, way: str, finished: list[Entry], in_flight: list[Parcel]) -> None:
        seqs, ready = {one.seq for one in parcel.entries}, self.ready(finished, in_flight)
        if way == "untried":
            assert not seqs & (self.tried - self.vague)
        if way == "probe" and ready:
            assert seqs & (ready | self.vague), "what was never tried is tried first"

    def answer(self, parcel: Parcel, now: float, rng: random.Random) -> list[Entry]:
        seqs = {one.seq for one in parcel.entries}
        finished, left = answer(self.ledger, parcel, now, rng)
        self.tried |= seqs - left
        return finished


def answer(ledger: Ledger, parcel: Parcel, now: float, rng: random.Random) -> tuple[list[Entry], set[int]]:
    """Settle the parcel in one of the ways that couriers do; what is finished by it, and what untried."""
    entries = list(parcel.entries)
    way = rng.choice(["all", "none", "part", "some", "not tried"])
    parcel.attempts += 1
    if way == "not tried":
        ledger.give_up(parcel)
    elif way == "none":
        ledger.settle(parcel, apart(entries, now, rng))
    elif way == "part" and len(entries) > 1:
        ledger.part(parcel, now + rng.randint(0, 3))
    elif way == "some":
        cut = rng.randint(0, len(entries))
        again, untried = entries[cut : cut + 1], entries[cut + 1 :]
        ledger.settle(parcel, [(again, now + 1)] if again else [], untried)
        return entries[:cut], {one.seq for one in untried}
    else:
        ledger.settle(parcel)
        return entries, set()
    return [], set()


def apart(entries: list[Entry], now: float, rng: random.Random) -> list[Wait]:
    """Rooms of a parcel that wait for different times, or all for the same."""
    if rng.random() < 0.5:
        return [(entries, now + rng.randint(0, 3))]
    rooms: dict[str, list[Entry]] = defaultdict(list)
    for one in entries:
        rooms[one.event.room].append(one)
    return [(some, now + rng.randint(0, 3)) for some in rooms.values()]


def test_a_batch_is_bounded_by_bytes_and_has_at_least_one_event() -> None:
    ledger = Ledger(0, BatchLimits(count=10, max_bytes=3000), max_in_flight=9, max_ahead=100)
    ledger.add([entry(n, str(n), size=1000) for n in range(1, 5)] + [entry(5, "5", size=9000)], 5, 0)
    sizes = []
    while (parcel := ledger.next(0)) is not None:
        sizes.append(len(parcel.entries))
    assert sizes == [2, 2, 1]


def test_entries_that_failed_together_go_one_by_one_with_their_past() -> None:
    ledger = Ledger(0, BatchLimits(count=10), max_in_flight=1, max_ahead=100)
    ledger.add([entry(n) for n in range(1, 6)], 5, 0)
    parcel = ledger.next(0)
    assert parcel is not None
    parcel.attempts = 2
    ledger.part(parcel, due=1)
    ledger.add([entry(6), entry(7)], 7, 0)
    assert ledger.next(0.5) is None
    seen = []
    while (parcel := ledger.next(1)) is not None:
        seen.append(([e.seq for e in parcel.entries], parcel.attempts))
        ledger.settle(parcel)
    assert seen == [([1], 2), ([2], 2), ([3], 2), ([4], 2), ([5], 2), ([6, 7], 0)]


@pytest.mark.parametrize("verdict", [None, DELIVERED, Delivered("ok"), [DELIVERED] * 3, (DELIVERED,) * 3])
def test_all_delivered(verdict: Any) -> None:
    assert judge(verdict, 3) is None


def test_one_outcome_holds_for_the_batch_and_a_short_list_leaves_the_rest_untried() -> None:
    retry, rejected = Retry("busy"), Rejected("bad")
    assert judge(retry, 2) == [retry, retry]
    assert judge([DELIVERED, rejected], 4) == [DELIVERED, rejected, None, None]


def test_a_pause_is_the_answer_for_all_that_is_to_come_again() -> None:
    pause, rejected = Retry("gone", pause=True), Rejected("bad")
    verdict = [DELIVERED, Retry("busy"), rejected, pause, Retry("busy")]
    assert judge(verdict, 6) == [DELIVERED, pause, rejected, pause, pause, None]


@pytest.mark.parametrize("verdict", [False, 1, "ok", {}, [], [None], [DELIVERED] * 4, [DELIVERED, "no"]])
def test_anything_else_is_the_plugins_mistake(verdict: Any) -> None:
    with pytest.raises(VerdictError):
        judge(verdict, 3)


def test_only_suspects_go_alone() -> None:
    ledger = Ledger(0, BatchLimits(count=10), max_in_flight=1, max_ahead=100)
    ledger.add([entry(1, "sick"), entry(2, "sick"), entry(3, "sick")], 3, 0)
    parcel = ledger.next(0)
    assert parcel is not None
    parcel.attempts = 2
    ledger.part(parcel, due=1000)
    ledger.add([entry(seq, "well") for seq in range(4, 9)], 8, 0)
    parcel = ledger.next(1)
    assert parcel is not None
    assert [one.seq for one in parcel.entries] == [4, 5, 6, 7, 8]


def test_what_failed_before_a_restart_goes_with_those_that_it_failed_with() -> None:
    ledger = Ledger(0, BatchLimits(count=10), max_in_flight=9, max_ahead=100)
    together = {seq: Past(3, 0, f"first of {seq}", "429", (1, 2, 5)) for seq in (1, 2, 5)}
    alone = {seq: Past(3, 0, "no", "no", (seq,)) for seq in (3, 4)}
    last = {seq: Past(4, 0, "no", "no", (6, 7)) for seq in (6, 7)}
    ledger.remember(together | alone | last, 0, 0, RetryPolicy(max_attempts=5))
    ledger.add([entry(seq, room) for seq, room in enumerate("abcdbefgg", 1)], 9, 0)
    parcels = [ledger.next(0) for _ in range(6)]
    went = [([one.seq for one in parcel.entries], parcel.attempts) for parcel in parcels if parcel]
    assert sorted(went) == [([1, 2, 5], 3), ([3], 3), ([4], 3), ([6], 4), ([7], 4), ([8, 9], 0)]
    [batch] = [parcel for parcel in parcels if parcel and parcel.first_seq == 1]
    assert batch.first_errors == {seq: f"first of {seq}" for seq in (1, 2, 5)}


def test_what_failed_together_before_a_restart_fits_into_the_batches_of_now() -> None:
    ledger = Ledger(0, BatchLimits(count=2, max_bytes=3000), max_in_flight=9, max_ahead=100)
    ledger.remember(
        {seq: Past(1, 0, "no", "no", (1, 2, 3, 4, 5)) for seq in range(1, 6)}, 0, 0, RetryPolicy()
    )
    log = [entry(seq, room, 9000 if room == "c" else 1) for seq, room in enumerate("abbcd", 1)]
    ledger.add(log, 5, 0)
    seen = []
    while (parcel := ledger.next(0)) is not None:
        seen.append([one.seq for one in parcel.entries])
        ledger.settle(parcel)
    assert seen == [[1, 2], [3], [4], [5]]


def test_what_stands_behind_a_held_room_does_not_make_a_batch_full() -> None:
    ledger = Ledger(0, BatchLimits(count=3, wait=5), max_in_flight=1, max_ahead=100)
    ledger.add([entry(1, "sick")], 1, 0)
    parcel = ledger.next(5)
    assert parcel is not None
    ledger.settle(parcel, [(parcel.entries, 1000)])
    ledger.add([entry(2, "sick"), entry(3, "sick"), entry(4, "sick"), entry(5, "well")], 5, 10)
    assert ledger.next(11) is None
    assert ledger.next_due(11) == 15
    assert ledger.next(15) is not None


def test_the_longest_due_goes_first_so_that_none_starves() -> None:
    ledger = Ledger(0, BatchLimits(count=1), max_in_flight=9, max_ahead=100)
    ledger.add([entry(seq, str(seq)) for seq in range(1, 4)], 3, 0)
    parcels = [parcel for _ in range(3) if (parcel := ledger.next(0)) is not None]
    for parcel, due in zip(parcels, (30, 10, 20), strict=True):
        ledger.settle(parcel, [(parcel.entries, due)])
    order = [parcel.first_seq for _ in range(3) if (parcel := ledger.next(99)) is not None]
    assert order == [2, 3, 1]
