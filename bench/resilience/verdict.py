"""What became of what was emitted. Pure."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Emitted:
    """One emit that a node acknowledged. Several may have the same payload."""

    payload: Hashable
    at: float


@dataclass(frozen=True)
class Heard:
    """One event that arrived."""

    payload: Hashable
    at: float


@dataclass(frozen=True)
class Gap:
    """A time in which the watch says that it may have missed events. Unix time; None: unknown."""

    since: float | None
    until: float | None
    reason: str = ""

    def encloses(self, moment: float) -> bool:
        return (self.since is None or self.since <= moment) and (self.until is None or moment <= self.until)


@dataclass(frozen=True)
class Verdict:
    """The counts."""

    sent: int
    heard: int
    lost: int
    doubled: int
    untold: int
    """Lost events that no gap record encloses."""
    silence: float | None
    """Seconds: the longest time between two events, of those that ended after the fault began."""


def judge(
    sent: Sequence[Emitted],
    heard: Sequence[Heard],
    unsure: Iterable[Hashable],
    gaps: Sequence[Gap],
    fault_at: float | None,
) -> Verdict:
    """Compare by payload; of equal payloads only the number counts.

    Args:
        sent: emits that were acknowledged.
        heard: in the order of arrival.
        unsure: payloads of emits that may have been executed; neither lost nor doubled if they came or not.
        gaps: what the watch says of itself.
        fault_at: when the first fault began; None without one.
    """
    wanted, got = Counter(e.payload for e in sent), Counter(h.payload for h in heard)
    missing = wanted - got
    extra = got - wanted - Counter(unsure)
    return Verdict(
        sent=len(sent),
        heard=len(heard),
        lost=missing.total(),
        doubled=extra.total(),
        untold=_untold(sent, missing, gaps),
        silence=None if fault_at is None else _longest_silence([h.at for h in heard], fault_at),
    )


def _untold(sent: Sequence[Emitted], missing: Counter[Hashable], gaps: Sequence[Gap]) -> int:
    """Of equal payloads nobody knows which ones are missing: those within a gap are taken for them."""
    within = Counter(e.payload for e in sent if any(gap.encloses(e.at) for gap in gaps))
    return (missing - within).total()


def _longest_silence(arrivals: Sequence[float], since: float) -> float | None:
    steps = [after - before for before, after in pairwise(arrivals) if after >= since]
    return max(steps, default=None)
