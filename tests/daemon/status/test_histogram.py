"""Histograms count each duration in the bucket that it belongs to."""

from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.histogram import CALLS, WAITS, Histogram
from tdbwatch.plugin.outcome import DELIVERED, Rejected
from tests.daemon.couriers.courier_kit import Bench

BOUNDS = (0.1, 1.0, 10.0)
SECONDS = st.floats(-1, 20, allow_nan=False)


@given(st.lists(st.tuples(SECONDS | st.sampled_from(BOUNDS), st.integers(1, 5))))
def test_each_bucket_has_what_was_no_longer_than_its_bound(observed: list[tuple[float, int]]) -> None:
    histogram = Histogram(BOUNDS)
    for seconds, count in observed:
        histogram.observe(seconds, count)
    expected = [sum(n for seconds, n in observed if seconds <= bound) for bound in (*BOUNDS, 99)]
    buckets = histogram.now.buckets
    assert [name for name, _ in buckets] == ["0.1", "1.0", "10.0", "+Inf"]
    assert [value for _, value in buckets] == expected
    assert abs(histogram.now.total - sum(max(0, seconds) * n for seconds, n in observed)) < 1e-6


def test_the_bounds_rise() -> None:
    assert list(CALLS) == sorted(set(CALLS))
    assert list(WAITS) == sorted(set(WAITS))


async def test_a_sinks_waits_are_of_what_it_took_and_its_calls_are_all(bench: Bench) -> None:
    answers = [[DELIVERED, Rejected("no"), DELIVERED], None]
    courier, sink = bench.courier(lambda batch: answers.pop(0))
    await bench.emit(1, 2, 3)
    early = courier.status()
    await bench.emit(4, 5)
    await courier.caught_up()
    status = courier.status()
    assert len(sink.batches) == 2
    assert sum(status.counts.calls.now.counts) == 2
    assert sum(status.counts.waits.now.counts) == status.counts.delivered == 4
    assert sum(early.counts.waits.now.counts) == early.counts.delivered == 2, "it is of its moment"
