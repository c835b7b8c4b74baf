"""Gaps as people think of them: one happening is one row, of however many rooms and records. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

TOUCH: Final = 5_000_000
"""Microseconds between two gaps of one cause that are one happening: drops are told of once a second."""

MOST_REASONS: Final = 10
"""Reasons of a span, and of a room in it, that are kept."""

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
class Part:
    """What one room missed in a span. Times in microseconds since the Unix epoch.

    Attributes:
        since_us: None: unknown.
        until_us: None: still open.
        reasons: each once, in order.
    """

    since_us: int | None
    until_us: int | None
    reasons: tuple[str, ...]

    def with_(self, other: "Part") -> "Part":
        """Both in one."""
        known = self.since_us is not None and other.since_us is not None
        ended = self.until_us is not None and other.until_us is not None
        return Part(
            since_us=min(self.since_us or 0, other.since_us or 0) if known else None,
            until_us=max(self.until_us or 0, other.until_us or 0) if ended else None,
            reasons=tuple(dict.fromkeys((*self.reasons, *other.reasons)))[:MOST_REASONS],
        )


@dataclass(slots=True)
class Span:
    """Gaps of one cause that overlap or touch.

    Attributes:
        at_us: when the latest of them was reported, in microseconds since the Unix epoch.
        whole: all of it.
        rooms: what each room missed of it.
        dropped: how many events in all; None: unknown.
    """

    at_us: int
    cause: str
    whole: Part
    rooms: dict[Room, Part]
    dropped: int | None

    def touches(self, other: "Span") -> bool:
        """Whether the other one is a part of the same happening."""
        mine, theirs = self.whole, other.whole
        if self.cause != other.cause or (mine.until_us is None) != (theirs.until_us is None):
            return False
        if mine.until_us is None or theirs.until_us is None:  # what goes on always overlaps
            return abs(_begin(mine) - _begin(theirs)) <= TOUCH and mine.reasons == theirs.reasons
        return _begin(theirs) <= mine.until_us + TOUCH and _begin(mine) <= theirs.until_us + TOUCH

    def take_in(self, other: "Span") -> None:
        """The other one is a part of this."""
        self.at_us = max(self.at_us, other.at_us)
        self.whole = self.whole.with_(other.whole)
        for room, part in other.rooms.items():
            self.rooms[room] = self.rooms[room].with_(part) if room in self.rooms else part
        known = self.dropped is not None and other.dropped is not None
        self.dropped = (self.dropped or 0) + (other.dropped or 0) if known else None

    def forget(self, events: int) -> None:
        """So many of its events were counted twice."""
        self.dropped = None if self.dropped is None else max(0, self.dropped - events)

    def copied(self) -> "Span":
        """One of its own, which stays as this is now."""
        return replace(self, rooms=dict(self.rooms))


def closed(gap: Gap) -> Span:
    """A gap that was recorded."""
    since_us = None if gap.since is None else _microseconds(gap.since)
    part = Part(since_us, _microseconds(gap.until), (gap.reason,))
    return Span(gap.at_us, gap.cause, part, {(gap.scope, gap.room): part}, gap.dropped)


def still_open(gaps: Iterable[OpenGap]) -> list[Span]:
    """Those that go on, the newest first."""
    spans: list[Span] = []
    for gap in sorted(gaps, key=lambda gap: (gap.cause, gap.reason, gap.since_us)):
        part = Part(gap.since_us, None, (gap.reason,))
        span = Span(gap.since_us, gap.cause, part, {(gap.scope, gap.room): part}, None)
        if spans and spans[-1].touches(span):
            spans[-1].take_in(span)
        else:
            spans.append(span)
    return sorted(spans, key=lambda span: _begin(span.whole), reverse=True)


def _begin(part: Part) -> int:
    """Where it begins, as far as one knows."""
    begin = part.until_us if part.since_us is None else part.since_us
    return begin or 0


def _microseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1_000_000)
