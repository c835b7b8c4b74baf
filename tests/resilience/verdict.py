"""What became of what was emitted. Pure."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sent:
    """One emit, and when (Unix time). Several may have the same payload."""

    payload: Hashable
    at: float


@dataclass(frozen=True)
class Gap:
    """A gap record's times (Unix time) and reason."""

    since: float
    until: float
    reason: str

    def encloses(self, moment: float) -> bool:
        return self.since <= moment <= self.until


@dataclass(frozen=True)
class Verdict:
    """The counts by payload; of equal payloads only the number counts."""

    sent: int
    lost: Counter[Hashable]
    doubled: Counter[Hashable]
    untold: Counter[Hashable]
    """Lost, and no gap record encloses it."""
    unpassed: set[Hashable]
    """Heard by a connection, and yet lost."""
    gaps: list[Gap] = field(default_factory=list)


def judge(
    sent: Sequence[Sent],
    heard: Iterable[Hashable],
    gaps: Sequence[Gap],
    heard_by_links: Iterable[Hashable] = (),
) -> Verdict:
    """Compare what was emitted with what was passed on, and the losses with what the gap records say."""
    wanted, got = Counter(each.payload for each in sent), Counter(heard)
    lost = wanted - got
    within = Counter(each.payload for each in sent if any(gap.encloses(each.at) for gap in gaps))
    return Verdict(
        sent=len(sent),
        lost=lost,
        doubled=got - wanted,
        untold=lost - within,
        unpassed=set(heard_by_links) - set(got),
        gaps=list(gaps),
    )
