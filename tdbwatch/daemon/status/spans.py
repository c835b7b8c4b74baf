"""Gaps as people think of them: one happening is one row, of however many rooms and records. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

TOUCH: Final = 5_000_000
"""Microseconds between two gaps of one cause that are one happening: drops are told of once a second."""

Room = tuple[str, str]
"""Scope and name."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which events of a room may have been missed, or were dropped.

    Attributes:
        at_us: when it was closed and reported, in microseconds since the Unix epoch.
        since: RFC 3339; None: unknown.
        until: RFC 3339.
        cause: one of `journal.CAUSES`.
        dropped: how many events; None: unknown.
    """

    at_us: int
    scope: str
    room: str
    since: str | None
    until: str
    reason: str
    cause: str
    dropped: int | None


@dataclass(frozen=True, slots=True)
class OpenGap:
    """A time that goes on, in which events of a room may be missed; recorded as a gap once it ends."""

    scope: str
    room: str
    since_us: int
    reason: str
    cause: str


@dataclass(frozen=True, slots=True)
class Span:
    """Gaps of one cause that overlap or touch. Times in microseconds since the Unix epoch.

    Attributes:
        at_us: when the latest of them was reported.
        since_us: None: unknown.
        until_us: None: still open.
        dropped: how many events in all; None: unknown.
        reasons: each once, in order.
    """

    at_us: int
    since_us: int | None
    until_us: int | None
    cause: str
    reasons: tuple[str, ...]
    rooms: frozenset[Room]
    dropped: int | None

    def touches(self, other: "Span") -> bool:
        """Whether the other one is a part of the same happening."""
        if self.cause != other.cause or (self.until_us is None) != (other.until_us is None):
            return False
        if self.until_us is None or other.until_us is None:  # what goes on always overlaps
            return abs(_begin(self) - _begin(other)) <= TOUCH and self.reasons == other.reasons
        return _begin(other) <= self.until_us + TOUCH and _begin(self) <= other.until_us + TOUCH

    def with_(self, other: "Span") -> "Span":
        """Both in one."""
        known = self.since_us is not None and other.since_us is not None
        ended = self.until_us is not None and other.until_us is not None
        counted = self.dropped is not None and other.dropped is not None
        return replace(
            self,
            at_us=max(self.at_us, other.at_us),
            since_us=min(self.since_us or 0, other.since_us or 0) if known else None,
            until_us=max(self.until_us or 0, other.until_us or 0) if ended else None,
            reasons=tuple(dict.fromkeys((*self.reasons, *other.reasons))),
            rooms=self.rooms | other.rooms,
            dropped=(self.dropped or 0) + (other.dropped or 0) if counted else None,
        )

    def without(self, events: int) -> "Span":
        """The same, when so many of its events were counted twice."""
        return replace(self, dropped=None if self.dropped is None else max(0, self.dropped - events))


def closed(gap: Gap) -> Span:
    """A gap that was recorded."""
    return Span(
        at_us=gap.at_us,
        since_us=None if gap.since is None else _microseconds(gap.since),
        until_us=_microseconds(gap.until),
        cause=gap.cause,
        reasons=(gap.reason,),
        rooms=frozenset({(gap.scope, gap.room)}),
        dropped=gap.dropped,
    )


def still_open(gaps: Iterable[OpenGap]) -> list[Span]:
    """Those that go on, the newest first."""
    spans: list[Span] = []
    for gap in sorted(gaps, key=lambda gap: (gap.cause, gap.reason, gap.since_us)):
        rooms = frozenset({(gap.scope, gap.room)})
        span = Span(gap.since_us, gap.since_us, None, gap.cause, (gap.reason,), rooms, None)
        if spans and spans[-1].touches(span):
            spans[-1] = spans[-1].with_(span)
        else:
            spans.append(span)
    return sorted(spans, key=_begin, reverse=True)


def _begin(span: Span) -> int:
    """Where it begins, as far as one knows."""
    begin = span.until_us if span.since_us is None else span.since_us
    return begin or 0


def _microseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1_000_000)
