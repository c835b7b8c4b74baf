"""What happened to rooms and nodes since the start: counted, and the latest of it remembered."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.status.spans import Gap, Span, closed
from tdbwatch.plugin import Kind
from tdbwatch.redaction import presentable

GAPS_KEPT: Final = 50
"""Gaps that /status.json can show; the counters know of all."""
SPANS_KEPT: Final = 20
"""Rows of gaps that the status page can show; each may stand for any number of gaps."""
CAUSES: Final = tuple(cause.value for cause in Cause)
"""Why events may have been missed; the values of the `cause` label."""
_LONGEST_STATUS: Final = 100


@dataclass(slots=True)
class NodeStory:
    """One node, since the start. Times in microseconds since the Unix epoch.

    Attributes:
        status: what the node said of itself last, such as `READY` or `SHUTTING_DOWN`; empty: nothing yet.
        connects: connections made to it.
        losses: connections to it that ended while in use.
        trouble: why it was lost or could not be reached; empty when it was connected to since.
        trouble_us: since when.
        refused: whether it is there, but refuses the login.
    """

    status: str = ""
    connects: int = 0
    losses: int = 0
    trouble: str = ""
    trouble_us: int | None = None
    refused: bool = False


class Journal:
    """Told of every record that tdbwatch makes of itself. The configuration's rooms and nodes bound it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.started_us = self._now()
        self.gaps: deque[Gap] = deque(maxlen=GAPS_KEPT)
        """The latest gaps, the newest last."""
        self.spans: deque[Span] = deque(maxlen=SPANS_KEPT)
        """The same, those in one that belong together."""
        self.gap_counts: Counter[tuple[str, str, str]] = Counter()
        """Gaps by (scope, room, cause)."""
        self.nodes: dict[str, NodeStory] = {}
        """By address."""

    def recorded(self, kind: Kind, event: str, scope: str, room: str, details: Mapping[str, Any]) -> None:
        """A record of a gap, a room or a node was made."""
        if kind is Kind.GAP:
            self._gap(scope, room, details)
        elif kind is Kind.NODE:
            self._node(event, details)

    def told_again(self, events: int) -> None:
        """So many of the events that the latest gaps count were counted by gaps before."""
        if events and self.spans:
            self.spans[-1].forget(events)

    def unreachable(self, node: str, reason: str, *, refused: bool = False) -> None:
        """An attempt to connect to a node failed, or the login was `refused`."""
        story = self._story(node)
        story.refused = refused
        self._trouble(story, reason)

    def recovered(self, node: str) -> None:
        """It could be reached again, though no connection to it is needed now."""
        story = self._story(node)
        story.trouble, story.trouble_us, story.refused = "", None, False

    def _gap(self, scope: str, room: str, details: Mapping[str, Any]) -> None:
        reason = presentable(str(details["reason"]))
        cause = str(details["cause"])
        self.gap_counts[scope, room, cause] += 1
        since, until, dropped = details["since"], details["until"], details["dropped"]
        gap = Gap(self._now(), scope, room, since, until, reason, cause, dropped)
        self.gaps.append(gap)
        self._add(closed(gap))

    def _add(self, span: Span) -> None:
        if self.spans and self.spans[-1].touches(span):
            self.spans[-1].take_in(span)
        else:
            self.spans.append(span)

    def _node(self, event: str, details: Mapping[str, Any]) -> None:
        story = self._story(str(details["node"]))
        if event == "connected":
            story.connects += 1
            story.status, story.trouble, story.trouble_us, story.refused = "", "", None, False
        elif event == "disconnected":
            story.losses += 1
            story.trouble_us = None
            self._trouble(story, str(details["reason"]))
        elif "status" in details:
            story.status = presentable(str(details["status"]), _LONGEST_STATUS)

    def _trouble(self, story: NodeStory, reason: str) -> None:
        story.trouble = presentable(reason)
        if story.trouble_us is None:
            story.trouble_us = self._now()

    def _story(self, node: str) -> NodeStory:
        return self.nodes.setdefault(node, NodeStory())

    def _now(self) -> int:
        return int(self._clock.time() * 1_000_000)
