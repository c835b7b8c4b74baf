"""The retry policy: how long to wait, when to give up."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.delivery.retry import RetryPolicy

STEADY = RetryPolicy(initial=1, factor=2, maximum=10, jitter=0, max_attempts=3, max_age=60)
RNG = random.Random(0)


def test_waits_grow_up_to_the_maximum() -> None:
    assert [STEADY.wait(n, RNG) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(st.integers(1, 5000), st.floats(0, 1), st.integers())
def test_jitter_only_ever_shortens_a_wait(failures: int, jitter: float, seed: int) -> None:
    policy = RetryPolicy(initial=1, factor=2, maximum=60, jitter=jitter)
    ceiling = RetryPolicy(initial=1, factor=2, maximum=60, jitter=0).wait(failures, RNG)
    assert ceiling * (1 - jitter) <= policy.wait(failures, random.Random(seed)) <= ceiling


def test_a_sinks_own_wish_is_obeyed_capped_and_never_shortens_our_wait() -> None:
    assert STEADY.wait(1, RNG, after=30) == 30
    assert STEADY.wait(1, RNG, after=1e12) == STEADY.max_after
    assert STEADY.wait(4, RNG, after=0.5) == 8


@pytest.mark.parametrize("after", [0, -5, float("nan"), float("-inf")])
def test_a_senseless_wish_is_ignored(after: float) -> None:
    assert STEADY.wait(1, RNG, after=after) == 1


def test_giving_up_is_by_attempts_or_by_age() -> None:
    assert STEADY.exhausted(2, 59) is None
    assert STEADY.exhausted(3, 0) == "gave up after 3 attempts"
    assert STEADY.exhausted(1, 60) == "gave up after 1 attempt in 1 min"


def test_without_limits_it_never_gives_up() -> None:
    assert RetryPolicy(max_attempts=None, max_age=None).exhausted(10**9, 1e12) is None
