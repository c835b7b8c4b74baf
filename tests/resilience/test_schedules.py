"""Random fault schedules against the oracle, on real sockets in virtual time.

Each schedule has a seed, which a failure prints. `TDBWATCH_SEED=123` runs that one alone; `TDBWATCH_SOAK=20`
runs twenty times as many.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from . import faults, schedules
from .virtual_time import run
from .world import SAME

FACTOR = int(os.environ.get("TDBWATCH_SOAK") or "1")
ONLY = os.environ.get("TDBWATCH_SEED")
BATCHES = 10
PER_BATCH = 20
APART = 30
"""From the first seed of a batch to that of the next."""


def seeds(batch: int) -> Iterator[int]:
    if ONLY is not None:
        return iter([int(ONLY)])
    first = batch * APART * FACTOR
    return iter(range(first, first + PER_BATCH * FACTOR))


each_batch = pytest.mark.parametrize("batch", range(BATCHES if ONLY is None else 1))


@each_batch
def test_when_any_one_node_goes_nothing_is_lost_or_doubled(batch: int) -> None:
    for seed in seeds(batch):
        schedule = schedules.make(seed, faults.ALL, steps=2, hurry=False)
        verdict = run(schedules.one_at_a_time(schedule))
        assert (verdict.lost, verdict.doubled, verdict.gaps) == ({}, {}, []), str(schedule)


@each_batch
def test_equal_payloads_are_not_lost_when_any_one_node_goes_and_rarely_doubled(batch: int) -> None:
    sent = doubled = 0
    for seed in seeds(batch):
        schedule = schedules.make(seed, faults.ALL, steps=1, hurry=False)
        verdict = run(schedules.one_at_a_time(replace(schedule, identical=True)))
        assert (verdict.lost, verdict.gaps) == ({}, []), str(schedule)
        assert set(verdict.doubled) <= {SAME}, str(schedule)
        sent, doubled = sent + verdict.sent, doubled + verdict.doubled.total()
    assert doubled < max(10, sent / 50), f"{doubled} of {sent}, seeds {list(seeds(batch))}"


@each_batch
def test_when_several_go_everything_lost_lies_within_a_gap_record(batch: int) -> None:
    for seed in seeds(batch):
        schedule = schedules.make(seed, faults.TOLD, steps=4, hurry=True)
        verdict = run(schedules.all_at_once(schedule))
        assert (verdict.untold, verdict.doubled) == ({}, {}), str(schedule)
        assert verdict.unpassed == set(), str(schedule)


@each_batch
def test_with_one_connection_everything_lost_lies_within_a_gap_record(batch: int) -> None:
    for seed in list(seeds(batch))[: 10 * FACTOR]:
        schedule = schedules.make(seed, faults.TOLD, steps=3, hurry=True)
        verdict = run(schedules.all_at_once(replace(schedule, connections=1)))
        assert verdict.untold == {}, str(schedule)
        assert verdict.unpassed == set(), str(schedule)


def test_a_seed_makes_the_same_schedule_again_and_says_how_to_run_it() -> None:
    schedule = schedules.make(77, faults.TOLD, steps=2, hurry=True)
    assert schedules.make(77, faults.TOLD, steps=2, hurry=True) == schedule
    assert str(schedule).startswith("TDBWATCH_SEED=77 ")
    assert str(schedule).count(" of node ") == 2
