"""Metrics as Prometheus' text format has them, version 0.0.4: in pieces, as 5,000 rooms make five megabytes.

prometheus_client would take a second for these, in which no event is heard.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from tdbwatch.daemon.histogram import Distribution
from tdbwatch.daemon.status.snapshot import Snapshot

Values = tuple[str, ...]
Samples = Iterable[tuple[Values, float]]
Distributions = Iterable[tuple[Values, Distribution]]
_PIECE: Final = 1_000
"""Lines that are made without a pause."""
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. `read` gives (label values, value) for each of its time series."""

    name: str
    type: Literal["counter", "gauge"]
    meaning: str
    labels: Values
    read: Callable[[Snapshot], Samples]

    def lines(self, snapshot: Snapshot) -> Iterator[str]:
        name, labels = self.name, self.labels
        for values, value in self.read(snapshot):
            yield f"{name}{_labelled(labels, values)} {_number(value)}\n"


@dataclass(frozen=True, slots=True)
class Histograms:
    """A metric of durations. `read` gives (label values, distribution) for each of its time series."""

    name: str
    meaning: str
    labels: Values
    read: Callable[[Snapshot], Distributions]
    type: Literal["histogram"] = "histogram"

    def lines(self, snapshot: Snapshot) -> Iterator[str]:
        for values, found in self.read(snapshot):
            count = 0.0
            for bound, count in found.buckets:
                labels = _labelled((*self.labels, "le"), (*values, bound))
                yield f"{self.name}_bucket{labels} {_number(count)}\n"
            labels = _labelled(self.labels, values)
            yield f"{self.name}_count{labels} {_number(count)}\n"
            yield f"{self.name}_sum{labels} {_number(found.total)}\n"


def pieces(definitions: Iterable[Definition | Histograms], snapshot: Snapshot) -> Iterator[str]:
    """The text, in pieces that take a few milliseconds each."""
    for each in definitions:
        yield f"# HELP {each.name} {each.meaning}\n# TYPE {each.name} {each.type}\n"
        lines = iter(each.lines(snapshot))
        while piece := "".join(islice(lines, _PIECE)):
            yield piece


def _labelled(names: Values, values: Values) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    plain = "\\" not in value and '"' not in value and "\n" not in value  # nearly always
    return value if plain else value.translate(_ESCAPES)


def _number(value: float) -> str:
    return str(whole) if (whole := int(value)) == value else repr(value)
