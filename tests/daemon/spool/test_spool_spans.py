"""Spans say the same as the numbers in them."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.spool.spans import between, holds, joined, next_outside, outside, spans_of

numbers = st.sets(st.integers(0, 40)).map(sorted)
places = st.integers(0, 45)


def all_of(spans: tuple[tuple[int, int], ...]) -> list[int]:
    return [number for first, last in spans for number in range(first, last + 1)]


@settings(deadline=None)
@given(numbers, places, places)
def test_spans_say_the_same_as_their_numbers(some: list[int], first: int, last: int) -> None:
    spans = spans_of(some)
    assert all_of(spans) == some
    assert all(a[1] + 1 < b[0] for a, b in pairwise(spans)), "none touches another"
    assert joined(spans) == spans
    assert all_of(between(spans, first, last)) == [n for n in some if first <= n <= last]
    assert all_of(outside(spans, first, last)) == [n for n in range(first, last + 1) if n not in some]
    assert next_outside(spans, first) == next(n for n in range(first, 99) if n not in some)
    if first <= last:
        assert holds(spans, first, last) == all(n in some for n in range(first, last + 1))


@settings(deadline=None)
@given(numbers, numbers)
def test_joined_spans_have_the_numbers_of_both(some: list[int], more: list[int]) -> None:
    assert joined(sorted((*spans_of(some), *spans_of(more)))) == spans_of(sorted({*some, *more}))
