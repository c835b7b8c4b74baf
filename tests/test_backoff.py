"""Waits grow to their maximum and stay there, for ever."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.backoff import Backoff, BackoffPolicy

positive = st.floats(min_value=1e-6, max_value=1e6)
policies = st.builds(
    BackoffPolicy,
    initial=positive,
    factor=st.floats(min_value=1, max_value=100),
    maximum=positive,
    jitter=st.floats(min_value=0, max_value=1),
)


@given(policies, st.integers(min_value=0, max_value=10**9))
def test_a_wait_is_between_its_share_of_the_ceiling_and_the_ceiling(policy, attempt):
    ceiling = policy.ceiling(attempt)
    assert 0 < ceiling <= policy.maximum
    wait = policy.wait(attempt, random.Random(1))
    assert ceiling * (1 - policy.jitter) * 0.999999 <= wait <= ceiling


@given(policies, st.integers(min_value=0, max_value=3000))
def test_ceilings_never_shrink(policy, attempt):
    assert policy.ceiling(attempt + 1) >= policy.ceiling(attempt)


@pytest.mark.parametrize("factor", [1.0, 2.0, 10.0, 100.0])
def test_thousands_of_failures_in_a_row_are_only_failures(factor):
    backoff = Backoff(BackoffPolicy(initial=1.0, factor=factor, maximum=60.0, jitter=0.0), random.Random(1))
    waits = [backoff.next() for _ in range(5000)]
    assert waits[-1] == (1.0 if factor == 1.0 else 60.0)


def test_after_something_worked_waits_begin_anew():
    backoff = Backoff(BackoffPolicy(initial=1.0, factor=2.0, maximum=60.0, jitter=0.0), random.Random(1))
    assert [backoff.next(), backoff.next()] == [1.0, 2.0]
    backoff.reset()
    assert backoff.next() == 1.0
