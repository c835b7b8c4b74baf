"""A sink's own metrics, which appear beside tdbwatch's own as `tdbwatch_plugin_NAME{sink="..."}`."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

PREFIX: Final = "tdbwatch_plugin_"
MOST_SERIES: Final = 1_000
"""Combinations of label values that one metric of a sink may have: emitters must not make ever new ones."""
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,99}")
_log: Final = structlog.get_logger("tdbwatch.plugins")


class _Own:
    """One metric of one sink."""

    def __init__(self, metric: Any, name: str, sink: str) -> None:
        self._metric = metric
        self._name = name
        self._sink = sink
        self._seen: set[frozenset[tuple[str, str]]] = set()
        self._told = False

    def _series(self, labels: dict[str, str]) -> Any | None:
        """The time series with these labels; None: there are too many."""
        key = frozenset(labels.items())
        if key not in self._seen:
            if len(self._seen) >= MOST_SERIES:
                if not self._told:
                    _log.warning("plugin.too_many_series", metric=self._name, sink=self._sink)
                self._told = True
                return None
            self._seen.add(key)
        return self._metric.labels(sink=self._sink, **labels)


class Counter(_Own):
    """Counts what only grows."""

    def inc(self, amount: float = 1, **labels: str) -> None:
        """Add `amount`, which is not negative."""
        if (series := self._series(labels)) is not None:
            series.inc(amount)


class Gauge(_Own):
    """Shows what goes up and down."""

    def set(self, value: float, **labels: str) -> None:
        """It is this now."""
        if (series := self._series(labels)) is not None:
            series.set(value)


class Histogram(_Own):
    """Shows how values are distributed, such as seconds."""

    def observe(self, value: float, **labels: str) -> None:
        """There was this one."""
        if (series := self._series(labels)) is not None:
            series.observe(value)


class PluginMetrics:
    """The metrics of all sinks; those of one name are one metric, with the sink as a label."""

    def __init__(self) -> None:
        self._registry: Any = None  # its library takes a while to import, and few sinks need it
        self._lock = threading.Lock()
        self._made: dict[str, tuple[str, tuple[str, ...], Any]] = {}

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        if self._registry is None:
            return b""
        from prometheus_client.exposition import generate_latest

        return generate_latest(self._registry)

    def metric(self, kind: str, name: str, meaning: str, labels: Sequence[str], **more: Any) -> Any:
        """The metric of this name, made if it is not there.

        Raises:
            ValueError: it cannot have that name or these labels, or there is another one of this name.
        """
        if not all(map(_NAME.fullmatch, (name, *labels))) or "sink" in labels:
            rule = "use letters, digits and _, and not the label sink, which is there already"
            raise ValueError(f"a metric cannot be called {name!r} with labels {list(labels)}; {rule}")
        with self._lock:  # sinks live in threads of their own
            return self._metric(kind, name, meaning, tuple(labels), **more)

    def _metric(self, kind: str, name: str, meaning: str, labels: tuple[str, ...], **more: Any) -> Any:
        import prometheus_client

        known = self._made.get(name)
        if known is None:
            prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
            if self._registry is None:
                self._registry = prometheus_client.CollectorRegistry(auto_describe=False)
            make = getattr(prometheus_client, kind)
            found = make(PREFIX + name, meaning, ["sink", *labels], registry=self._registry, **more)
            known = self._made[name] = kind, labels, found
        if known[:2] != (kind, labels):
            raise ValueError(f"there is a metric {name!r} of another type or with other labels already")
        return known[2]


@dataclass(frozen=True, slots=True)
class SinkMetrics:
    """Makes a sink's metrics. Names get the prefix `tdbwatch_plugin_`, counters the ending `_total`."""

    sink: str = "test"
    all: PluginMetrics = field(default_factory=PluginMetrics)

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """One that counts. Raises `ValueError` for a name that cannot be one."""
        return Counter(self.all.metric("Counter", name, meaning, labels), name, self.sink)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        """One that shows a value. Raises `ValueError` for a name that cannot be one."""
        return Gauge(self.all.metric("Gauge", name, meaning, labels), name, self.sink)

    def histogram(
        self, name: str, meaning: str, labels: Sequence[str] = (), buckets: Sequence[float] | None = None
    ) -> Histogram:
        """One that shows a distribution. Raises `ValueError` for a name that cannot be one."""
        more = {} if buckets is None else {"buckets": tuple(buckets)}
        made = self.all.metric("Histogram", name, meaning, labels, **more)
        return Histogram(made, name, self.sink)
