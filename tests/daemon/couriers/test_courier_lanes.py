"""Lanes, what is saved of them, and verdicts: what may go next, whatever sinks answer and whenever we die."""

import random
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.couriers.answer import VerdictError, judge
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.lane import TRANSITIONS, LaneQueue, Parcel, Share, State, TransitionError
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.pieces import UNTRIED, Failure, Piece, another
from tdbwatch.daemon.couriers.progress import Remembered, changes, resumed
from tdbwatch.daemon.couriers.reading import Wanted
from tdbwatch.daemon.couriers.settings import BatchLimits, CourierSettings
from tdbwatch.daemon.couriers.turns import Turns
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.spool.api import Behind, Gone, Past, Progress
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, encode_run, pack, run_of
from tdbwatch.plugin import DELIVERED, Delivered, Event, Rejected, Retry

LANES = [Lane("//stuff", name) for name in "abcd"]


def block(first_seq: int, count: int, lane: Lane, target: str | None = None, size: int = 0) -> Block:
    events = [Event.create(lane.room, "e", [first_seq + n, "x" * size]) for n in range(count)]
    body = pack([encode_run(run_of(event)) for event in events])
    return Block(first_seq, count, lane, target, body)


def breaker_for(settings: CourierSettings) -> Breaker:
    return Breaker(settings.retry, settings.breaker_threshold, random.Random(1))


class World:
    """A log, and lanes over it that are filled, sent, answered, saved and begun anew at random."""

    def __init__(self, rng: random.Random, sizes: list[tuple[Lane, int]]) -> None:
        self.rng = rng
        self.log: list[Block] = []
        for lane, size in sizes:
            self.log.append(block(self.end + 1, size, lane, rng.choice([None, None, None, "sink", "other"])))
        self.settings = CourierSettings(
            "sink",
            batch=BatchLimits(rng.randint(1, 6), rng.choice([1, 1500, 1 << 20]), rng.choice([0, 0, 3])),
            max_in_flight=rng.randint(1, 4),
            max_ahead=rng.choice([4, 100]),
            retry=RetryPolicy(max_attempts=rng.choice([None, 3])),
            order=self.any_order(rng),
        )
        self.changes = rng.random() < 0.2
        """Whether the order may be another one in each life."""
        self.drops = rng.random() < 0.2
        self.wants = Wanted("sink", lambda event: event.args[0] % 7 != 0)
        self.now = 0.0
        self.finished: set[int] = set()
        """In all lives; a crash undoes what was not saved."""
        self.attempts: defaultdict[int, int] = defaultdict(int)
        self.at_save = (set[int](), dict[int, int]())
        self.gone: set[int] = set()
        self.progress = Progress(0)
        self.begin()

    def any_order(self, rng: random.Random) -> Callable[[Event], str] | None:
        """Of the room, of four keys in it, or none."""
        return rng.choice([None, lambda event: str(event.args[0] % 4), lambda event: event.id])

    def place_of(self, seq: int) -> tuple[Lane, Any]:
        """What keeps its order with this entry."""
        one = next(one for one in self.log if one.first_seq <= seq <= one.last_seq)
        order = self.settings.order
        return one.lane, None if order is None else order(one.events[seq - one.first_seq])

    @property
    def end(self) -> int:
        return self.log[-1].last_seq if self.log else 0

    def lane_of(self, seq: int) -> Lane:
        return next(one.lane for one in self.log if one.first_seq <= seq <= one.last_seq)

    @cached_property
    def wanted(self) -> dict[int, Lane]:
        return {
            seq: one.lane
            for one in self.log
            if (piece := self.wants.piece(one, 0)) is not None
            for seq in piece.seqs
        }

    # -- a life ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        progress = Progress(self.progress.floor, dict(self.progress.behind))
        if self.changes:
            self.settings = replace(self.settings, order=self.any_order(self.rng))
        self.breaker = breaker_for(self.settings)
        self.lanes = Lanes(self.settings, Turns(self.settings, self.breaker), progress.floor)
        self.lanes.resume(resumed(progress, max(self.gone, default=0) + 1, interrupted=True))
        self.remembered = Remembered(self.settings, self.now, int(self.now * 1e6))
        self.in_flight: list[Parcel] = []
        self.settled: list[Parcel] = []
        self.finished, attempts = set(self.at_save[0]), dict(self.at_save[1])
        self.attempts = defaultdict(int, attempts)

    def step(self) -> None:
        self.now += self.rng.choice([0, 1])
        self.release_some()
        match self.rng.choice(["read", "read again", "send", "answer", "let go", "save", "drop", "crash"]):
            case "read":
                self.read()
            case "read again":
                self.read_again()
            case "send":
                self.send()
            case "answer" if self.in_flight:
                self.answer(self.in_flight.pop(self.rng.randrange(len(self.in_flight))))
            case "let go":
                self.lanes.let_go(self.now, self.rng.choice([0, 2]))
            case "save":
                self.save()
            case "drop" if self.drops and self.rng.random() < 0.1:
                self.drop()
            case "crash" if self.rng.random() < 0.1:
                self.begin()
        self.check_memory()

    def check_memory(self) -> None:
        """What is counted is what is there, and a lane with a failure keeps no more than that."""
        pieces = [piece for q in self.lanes for piece in q.in_memory]
        assert self.lanes.memory.count == sum([one.count for one in pieces])
        assert self.lanes.memory.size == sum(piece.size for piece in pieces)
        on_their_way = {queue for parcel in self.settled for queue in parcel.lanes}
        lanes = [queue for queue in self.lanes if queue.key is None and queue not in on_their_way]
        sick = [[*queue.held] for queue in lanes if queue.sick]
        assert not any(held and held[-1].failure is UNTRIED for held in sick)

    def read(self) -> None:
        after = self.lanes.position
        found = [one for one in self.log if one.last_seq > after and one.last_seq not in self.gone]
        if not found:
            self.lanes.position = self.end
        for one in found[: self.rng.randint(1, 3)]:
            if (piece := self.wants.piece(one, after)) is not None:
                self.lanes.add(one.lane, piece, self.now)
            self.lanes.position = one.last_seq

    def read_again(self) -> None:
        if not self.lanes.to_read:
            return
        found = []
        for queue in self.remembered.next(self.lanes.to_read):
            if queue.state is not State.READING:
                continue
            assert queue.disk is not None
            first, last = queue.disk.first_seq, queue.disk.last_seq
            blocks = [
                one
                for one in self.log
                if one.lane == queue.lane
                and one.last_seq >= first
                and one.first_seq <= last
                and one.last_seq not in self.gone
            ][: self.rng.randint(1, 3)]
            pieces = [self.wants.piece(one, first - 1, last, queue.beyond) for one in blocks]
            laid = self.remembered.lay_over(queue, [piece for piece in pieces if piece is not None])
            found.append((queue, laid, min(last, blocks[-1].last_seq) if blocks else last))
        self.lanes.found(found, self.now)

    def send(self) -> None:
        self.breaker.open = self.rng.random() < 0.3
        self.breaker.hold_until = self.now + self.rng.choice([0, 0, 2])
        self.breaker.untried_hold_until = self.rng.choice([0, self.breaker.hold_until])
        next_try = self.lanes.turns.next_try(self.now)
        parcel = self.lanes.turns.next(self.now)
        may_go = next_try is not None and next_try <= self.now
        assert may_go == (parcel is not None), "what goes now and when something goes is one question"
        if parcel is None:
            return
        held = {self.place_of(seq) for other in self.lanes.turns.in_flight[:-1] for seq in other.seqs}
        assert not held & set(map(self.place_of, parcel.seqs)), "never two parcels with entries of one lane"
        assert len(parcel) <= self.settings.batch.count
        if self.breaker.hold_until > self.now:
            assert parcel.failure is UNTRIED
        self.check_comes_next(parcel)
        for seq in parcel.seqs:
            assert seq not in self.finished, "nothing is offered again that is finished"
            assert seq not in self.progress_finished, "nor what was saved as finished"
            assert parcel.failure.attempts <= self.attempts[seq], "none is charged with another's attempts"
            if not self.gone and not self.changes:
                assert parcel.failure.attempts == self.attempts[seq], "its attempts go on counting"
        self.in_flight.append(parcel)

    @property
    def progress_finished(self) -> set[int]:
        return {seq for seq, lane in self.wanted.items() if self.progress.finished(seq, lane)}

    def check_comes_next(self, parcel: Parcel) -> None:
        """All that is older of the same lane is finished, in this parcel before it, or gone."""
        places = {seq: self.place_of(seq) for seq in self.wanted}
        seqs = parcel.seqs
        for place in set(map(self.place_of, seqs)):
            own = [seq for seq in seqs if places[seq] == place]
            assert own == sorted(own)
            older = {seq for seq, other in places.items() if other == place and seq <= own[-1]}
            assert older - self.finished - self.gone <= set(own)

    def answer(self, parcel: Parcel) -> None:
        way = self.rng.choice(["all", "all", "none", "alone", "some", "put back"])
        seqs = parcel.seqs
        failure = replace(
            another(parcel.failure, self.now, int(self.now * 1e6)),
            first_error=parcel.failure.first_error or "first",
            last_error=f"error {self.rng.randint(0, 1)}",
            most=1 if way == "alone" else sys.maxsize,
        )
        by_due = [replace(failure, due=self.now + wait) for wait in range(4)]
        failures = {queue: self.rng.choice(by_due) for queue in parcel.lanes}
        if way == "all":
            self.lanes.finish(parcel, self.now)
            self.finished.update(seqs)
            return
        if way == "put back":
            self.lanes.finish(parcel, self.now, back=parcel.shares)
            return
        failed, untried = (parcel.shares, []) if way != "some" else self.some(parcel)
        for seq in seqs_of(failed):
            self.attempts[seq] += 1
        self.finished |= {*seqs} - seqs_of(failed) - seqs_of(untried)
        again = [(queue, piece.failed(failures[queue])) for queue, piece in failed]
        self.lanes.settle(parcel, [*again, *untried])
        if self.rng.random() < 0.5:  # a dead letter is on its way to the disk
            self.settled.append(parcel)
        else:
            self.lanes.release(parcel, self.now)

    def release_some(self, likely: float = 0.2) -> None:
        for one in [one for one in self.settled if self.rng.random() < likely]:
            self.settled.remove(one)
            self.lanes.release(one, self.now)

    def some(self, parcel: Parcel) -> tuple[list[Share], list[Share]]:
        """What failed, and what was not tried: anything, then a rest; or a pause, so that nothing failed."""
        cut, pause = self.rng.randint(0, len(parcel)), self.rng.random() < 0.3
        failed, untried, number = list[Share](), list[Share](), 0
        for queue, piece in parcel.shares:
            indexes = [index for index in range(piece.count) if number + index < cut]
            if again := [index for index in indexes if self.rng.random() < 0.5]:
                (untried if pause else failed).append((queue, piece.only(again)))
            if rest := list(range(len(indexes), piece.count)):
                untried.append((queue, piece.only(rest)))
            number += piece.count
        return failed, untried

    def save(self) -> None:
        if (update := changes(self.progress, self.lanes)) is not None:
            floor, changed = update
            assert floor >= self.progress.floor, "the floor never falls"
            self.progress.floor = floor
            for lane, behind in changed.items():
                if behind is None:
                    del self.progress.behind[lane]
                else:
                    assert self.progress.behind.get(lane) != behind, "only what changed is saved"
                    self.progress.behind[lane] = behind
        self.at_save = set(self.finished), dict(self.attempts)
        assert self.progress.floor <= self.lanes.position
        for seq, lane in self.wanted.items():
            if seq <= self.lanes.position and seq not in self.gone:
                assert self.progress.finished(seq, lane) == (seq in self.finished), f"{seq} of {lane.room}"
        for lane, behind in self.progress.behind.items():
            assert self.settings.order or self.changes or len(behind.beyond) < 2 * self.settings.batch.count
            if not self.gone and not self.changes:
                tried = [past.attempts for past in behind.tried for _ in range(past.count)]
                own = [s for s, other in self.wanted.items() if other == lane and s not in self.finished]
                known = [self.attempts[s] for s in own if s <= self.lanes.position]
                assert tried == known[: len(tried)]
                assert not any(known[len(tried) :]), "those that were tried come first"
                assert all(tried) or self.settings.order

    def drop(self) -> None:
        alive = [one for one in self.log if one.last_seq not in self.gone]
        for one in alive[:1]:
            self.gone.update(range(one.first_seq, one.last_seq + 1))
            self.lanes.gone([Gone(one.first_seq, one.count, one.lane, one.target)])

    # -- the end -----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """The sink takes everything from now on."""
        self.breaker.worked(self.now)
        for _ in range(1000):
            self.now += 4
            self.read()
            self.read_again()
            while (parcel := self.lanes.turns.next(self.now)) is not None:
                self.check_comes_next(parcel)
                self.in_flight.append(parcel)
            for parcel in self.in_flight:
                self.lanes.finish(parcel, self.now)
                self.finished.update(parcel.seqs)
            self.in_flight.clear()
            self.release_some(likely=1)
            if self.lanes.position == self.end and not self.lanes:
                break
        assert set(self.wanted) - self.gone <= self.finished
        assert (self.lanes.memory.count, self.lanes.memory.size, self.lanes.unfinished) == (0, 0, 0)
        self.save()
        assert (self.progress.floor, self.progress.behind) == (self.end, {})


@pytest.mark.timeout(180)
@settings(max_examples=400, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.sampled_from(LANES), st.integers(1, 6)), min_size=1, max_size=15),
    seed=st.integers(),
)
def test_every_entry_is_finished_in_order_and_what_is_saved_is_exact(
    sizes: list[tuple[Lane, int]], seed: int
) -> None:
    lives(sizes, seed)


def lives(sizes: list[tuple[Lane, int]], seed: int) -> None:
    world = World(random.Random(seed), sizes)
    for _ in range(150):
        world.step()
    world.drain()


def test_what_was_never_tried_between_others_that_were_is_not_charged_with_their_attempts() -> None:
    lives([(LANES[0], 6), (LANES[0], 2)], 2776)


def lanes_of(*sizes: tuple[Lane, int], **options: Any) -> Lanes:
    """Lanes that have read a block for each of these."""
    settings = CourierSettings("sink", **options)
    lanes = Lanes(settings, Turns(settings, breaker_for(settings)), 0)
    read(lanes, *sizes)
    return lanes


def read(lanes: Lanes, *sizes: tuple[Lane, int], size: int = 0, now: float = 0) -> None:
    wanted = Wanted("sink", lambda event: True)
    for lane, count in sizes:
        piece = wanted.piece(one := block(lanes.position + 1, count, lane, size=size), 0)
        assert piece is not None
        lanes.add(lane, piece, now)
        lanes.position = one.last_seq


def sent(lanes: Lanes, now: float = 0) -> list[list[int]]:
    """All that may go now, one after the other: each is taken at once."""
    seqs = []
    while (parcel := lanes.turns.next(now)) is not None:
        seqs.append(parcel.seqs)
        lanes.finish(parcel, now)
    return seqs


def next_of(lanes: Lanes, now: float = 0) -> Parcel:
    parcel = lanes.turns.next(now)
    assert parcel is not None
    return parcel


def failure(attempts: int, *, alone: bool = False) -> Failure:
    return Failure(attempts, 0, 0, "no", "no", most=1 if alone else sys.maxsize)


def fail(lanes: Lanes, parcel: Parcel, due: float, *, alone: bool = False) -> None:
    """All of it failed; with `alone` only the first lane has to wait."""
    others = failure(parcel.failure.attempts + 1, alone=alone)
    first = replace(others, due=due)
    failures = dict.fromkeys(parcel.lanes, others if alone else first) | {parcel.lanes[0]: first}
    lanes.finish(parcel, 0, back=[(queue, piece.failed(failures[queue])) for queue, piece in parcel.shares])


def seqs_of(shares: list[Share]) -> set[int]:
    return {seq for _, piece in shares for seq in piece.seqs}


A, B, C, D = LANES


def test_a_lane_goes_only_where_the_table_says() -> None:
    queue = LaneQueue(A)
    queue.put(piece := Piece.of(block(1, 1, LANES[0])))
    assert queue.move() is State.READY
    queue.take(1, 1, at_least=1)
    assert queue.move() is State.IN_FLIGHT
    with pytest.raises(TransitionError, match="IN_FLIGHT"):
        queue.move()
    queue.put_back([piece])
    assert queue.move() is State.READY
    assert set(TRANSITIONS) == set(State)


def test_a_batch_is_bounded_by_bytes_and_has_at_least_one_event() -> None:
    lanes = lanes_of(batch=BatchLimits(count=10, max_bytes=3000), max_in_flight=9)
    lanes_list = [Lane("//stuff", str(number)) for number in range(5)]
    read(lanes, *[(lane, 1) for lane in lanes_list[:4]], size=1000)
    read(lanes, (lanes_list[4], 1), size=9000)
    assert [len(seqs) for seqs in sent(lanes)] == [2, 2, 1]


def test_ready_lanes_take_turns_so_that_one_with_much_does_not_keep_the_others_waiting() -> None:
    lanes = lanes_of((A, 4), (A, 4), (B, 1), (A, 4), (C, 1), batch=BatchLimits(count=6))
    assert sent(lanes) == [[1, 2, 3, 4, 9, 14], [5, 6, 7, 8, 10, 11], [12, 13]]


def test_a_sink_that_takes_only_a_part_of_each_batch_gets_to_every_lane_in_its_turn() -> None:
    lanes = lanes_of((A, 9), (B, 3), batch=BatchLimits(count=3))
    heads = []
    for _ in range(4):
        parcel = next_of(lanes)
        heads.append(parcel.seqs[0])
        (queue, piece), *others = parcel.shares
        rest = piece.split(1)[1]
        lanes.finish(parcel, 0, back=[*([(queue, rest)] if rest.count else []), *others])
    assert heads == [1, 10, 2, 11]


def test_entries_that_failed_together_go_one_by_one_with_their_past() -> None:
    lanes = lanes_of((A, 5), batch=BatchLimits(count=10), max_in_flight=1)
    fail(lanes, next_of(lanes), 0)
    fail(lanes, next_of(lanes), due=1, alone=True)
    read(lanes, (A, 2))
    assert lanes.turns.next(0.5) is None
    seen = []
    while (parcel := lanes.turns.next(1)) is not None:
        seen.append((parcel.seqs, parcel.failure.attempts))
        lanes.finish(parcel, 1)
    assert seen == [([1], 2), ([2], 2), ([3], 2), ([4], 2), ([5], 2)]
    assert list(lanes.to_read) == [lanes.get(A)], "what came since is to be read again"


def test_only_suspects_go_alone() -> None:
    lanes = lanes_of((A, 3), batch=BatchLimits(count=10), max_in_flight=1)
    fail(lanes, next_of(lanes), due=1000, alone=True)
    read(lanes, (B, 5))
    assert sent(lanes, 1) == [[4, 5, 6, 7, 8]]


def test_what_failed_before_a_restart_goes_with_those_that_it_failed_with() -> None:
    behind = {
        Lane("//stuff", "a"): Behind(1, (), (Past(1, 3, 0, "first of 1", "429"),)),
        Lane("//stuff", "b"): Behind(2, (), (Past(1, 3, 0, "first of 2", "429"), Past(1, 2, 0, "no", "no"))),
        Lane("//stuff", "c"): Behind(3, (), (Past(1, 4, 0, "no", "no"),)),
        Lane("//stuff", "d"): Behind(4, (), (Past(1, 4, 0, "no", "no"),)),
    }
    went = resume(Progress(5, behind), [(A, 1), (B, 1), (C, 1), (D, 1), (B, 1)], BatchLimits(count=10))
    assert went == [([1, 2], 3), ([3], 4), ([4], 4), ([5], 2)]


def test_what_failed_together_before_a_restart_fits_into_the_batches_of_now() -> None:
    lanes_list = [A, B, C, D]
    behind = {
        lane: Behind(seq, (), (Past(2 if lane == B else 1, 1, 0, "no", "no"),))
        for lane, seq in zip(lanes_list, (1, 2, 4, 5), strict=True)
    }
    went = resume(Progress(5, behind), [(A, 1), (B, 2), (C, 1), (D, 1)], BatchLimits(count=2))
    assert went == [([1], 1), ([2, 3], 1), ([4, 5], 1)]


def resume(
    progress: Progress, sizes: list[tuple[Lane, int]], limits: BatchLimits
) -> list[tuple[list[int], int]]:
    """Seqs and attempts of all that goes after a restart, at the fifth attempt the last."""
    policy = RetryPolicy(max_attempts=5)
    log = list[Block]()
    for lane, count in sizes:
        log.append(block(log[-1].last_seq + 1 if log else 1, count, lane))
    configured = CourierSettings("sink", batch=limits, retry=policy, max_in_flight=9)
    lanes = Lanes(configured, Turns(configured, breaker_for(configured)), progress.floor)
    lanes.resume(resumed(progress, 1, interrupted=True))
    past, wanted = Remembered(configured, 0, 0), Wanted("sink", lambda event: True)
    while lanes.to_read:
        found = []
        for queue in past.next(lanes.to_read):
            assert queue.disk is not None
            pieces = [wanted.piece(one, queue.disk.first_seq - 1) for one in log if one.lane == queue.lane]
            found.append((queue, past.lay_over(queue, [one for one in pieces if one]), progress.floor))
        lanes.found(found, 0)
    went = []
    while (parcel := lanes.turns.next(0)) is not None:
        went.append((parcel.seqs, parcel.failure.attempts))
        lanes.finish(parcel, 0)
    return went


def test_what_stands_behind_a_lane_that_waits_does_not_make_a_batch_full() -> None:
    lanes = lanes_of((A, 1), batch=BatchLimits(count=3, wait=5), max_in_flight=1)
    fail(lanes, next_of(lanes, 5), due=1000)
    read(lanes, (A, 3), (B, 1), now=10)
    assert lanes.turns.next(11) is None
    assert lanes.turns.next_try(11) == 15
    assert lanes.turns.next(15) is not None


def test_the_longest_due_goes_first_so_that_none_starves() -> None:
    lanes = lanes_of((A, 1), (B, 1), (C, 1), batch=BatchLimits(count=1), max_in_flight=9)
    parcels = [next_of(lanes) for _ in range(3)]
    for parcel, due in zip(parcels, (30, 10, 20), strict=True):
        fail(lanes, parcel, due)
    assert sent(lanes, 99) == [[2], [3], [1]]


def test_a_healthy_lane_costs_no_row_and_one_that_was_overtaken_does() -> None:
    lanes = lanes_of((A, 3), (B, 3), batch=BatchLimits(count=3), max_in_flight=2)
    assert changes(Progress(0), lanes) is None
    first, second = next_of(lanes), next_of(lanes)
    lanes.finish(second, 0)
    assert changes(Progress(0), lanes) == (6, {A: Behind(1)})
    lanes.finish(first, 0)
    assert changes(Progress(6, {A: Behind(1)}), lanes) == (6, {A: None})
    assert changes(Progress(6), lanes) is None


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
