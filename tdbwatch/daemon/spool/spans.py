"""Spans: numbers in a row, by the first and the last. Several are in order, and none touches another."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

Span = tuple[int, int]
_last: Final = itemgetter(1)


def spans_of(numbers: Iterable[int]) -> tuple[Span, ...]:
    """These numbers, which are in order."""
    return joined((number, number) for number in numbers)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans that are in order of their first numbers; those that touch or overlap become one."""
    found: list[Span] = []
    for first, last in spans:
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def between(spans: Iterable[Span], first: int, last: int) -> tuple[Span, ...]:
    """What of them lies between these two, both included."""
    clipped = ((max(a, first), min(b, last)) for a, b in spans)
    return tuple((a, b) for a, b in clipped if a <= b)


def holds(spans: Sequence[Span], first: int, last: int) -> bool:
    """Whether all numbers between these two are in one of them."""
    return _end(spans, first) >= last


def next_outside(spans: Sequence[Span], number: int) -> int:
    """The first number from this one on that is in none of them."""
    return max(number, _end(spans, number) + 1)


def outside(spans: Iterable[Span], first: int, last: int) -> tuple[Span, ...]:
    """The numbers between these two that are in none of them."""
    found: list[Span] = []
    for begin, end in between(spans, first, last):
        if first < begin:
            found.append((first, begin - 1))
        first = end + 1
    return (*found, (first, last)) if first <= last else tuple(found)


def _end(spans: Sequence[Span], number: int) -> int:
    """Where the span ends that this number is in; -1: it is in none."""
    index = bisect_left(spans, number, key=_last)
    return spans[index][1] if index < len(spans) and spans[index][0] <= number else -1
