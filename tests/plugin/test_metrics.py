"""A sink's own metrics: made by name, shown by sink, bounded."""

import re
import threading

import pytest
from structlog.testing import capture_logs

from tdbwatch.plugin.metrics import MOST_SERIES, PluginMetrics, SinkMetrics


def test_metrics_of_one_name_are_one_with_the_sink_as_a_label() -> None:
    every = PluginMetrics()
    for sink, amount in (("a", 2), ("b", 3)):
        mine = SinkMetrics(sink, every)
        mine.counter("mails", "Mails sent", ["status"]).inc(amount, status="ok")
        mine.gauge("queue", "Mails that wait").set(amount)
        mine.histogram("seconds", "How long", buckets=[1, 5]).observe(amount)
    text = every.text().decode()
    assert text.count("# TYPE tdbwatch_plugin_mails_total counter") == 1
    assert 'tdbwatch_plugin_mails_total{sink="a",status="ok"} 2.0' in text
    assert 'tdbwatch_plugin_mails_total{sink="b",status="ok"} 3.0' in text
    assert 'tdbwatch_plugin_queue{sink="b"} 3.0' in text
    assert 'tdbwatch_plugin_seconds_bucket{le="5.0",sink="a"} 1.0' in text
    assert "_created" not in text


def test_without_metrics_there_is_nothing() -> None:
    assert PluginMetrics().text() == b""


@pytest.mark.parametrize(
    ("name", "labels"), [("a-b", []), ("", []), ("1a", []), ("a", ["sink"]), ("a", ["b-c"]), ("x" * 101, [])]
)
def test_a_name_that_prometheus_cannot_have_is_refused(name: str, labels: list[str]) -> None:
    with pytest.raises(ValueError, match="use letters, digits and _"):
        SinkMetrics().counter(name, "It", labels)


def test_another_metric_of_the_same_name_is_refused() -> None:
    mine = SinkMetrics()
    mine.counter("a", "It")
    mine.counter("a", "It")
    for make in (lambda: mine.gauge("a", "It"), lambda: mine.counter("a", "It", ["b"])):
        with pytest.raises(
            ValueError, match=re.escape("there is a metric 'a' of another type or with other")
        ):
            make()


def test_labels_are_bounded_and_that_is_said_once() -> None:
    every = PluginMetrics()
    counter = SinkMetrics("s", every).counter("seen", "It", ["user"])
    with capture_logs() as log:
        for number in range(MOST_SERIES + 10):
            counter.inc(user=str(number))
    counter.inc(user="1")
    assert every.text().count(b"tdbwatch_plugin_seen_total{") == MOST_SERIES
    assert b'tdbwatch_plugin_seen_total{sink="s",user="1"} 2.0' in every.text()
    assert [line["event"] for line in log] == ["plugin.too_many_series"]


def test_sinks_in_several_threads_make_one_metric() -> None:
    every, ready = PluginMetrics(), threading.Barrier(8)

    def make(number: int) -> None:
        ready.wait()
        SinkMetrics(f"s{number}", every).counter("together", "It").inc()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert every.text().count(b"tdbwatch_plugin_together_total{") == 8
