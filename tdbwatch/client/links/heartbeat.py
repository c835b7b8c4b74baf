"""How a silent node is noticed. Pure: it is told the time, and sleeps for nobody."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

PROGRESS: Final = 64 * 1024
"""Bytes of one long frame that count as a sign of life; fewer may be dripped to keep a useless link alive."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How a silent node is noticed. Seconds; a frame, or 64 KiB of a long one, counts as a sign of life.

    After `interval` of silence the node is pinged; after `timeout` of silence the link is given up. Nodes
    that are away answer pings in milliseconds (measured: protocol facts), so they are never mistaken.
    """

    interval: float = 5.0
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.interval < self.timeout:
            raise ValueError(
                f"a heartbeat needs 0 < interval < timeout, not interval={self.interval:g}, "
                f"timeout={self.timeout:g}"
            )


class Finding(Enum):
    """What a look at a link says."""

    WELL = "well"
    ASK = "ask"
    """It has been silent for a while: ping it."""
    DEAD = "dead"
    """It did not answer."""


class SignsOfLife:
    """When a node was heard last, and what follows from that. Times in monotonic seconds."""

    __slots__ = ("_dripped", "_due", "_heartbeat", "_pinged_at", "heard_at")

    def __init__(self, heartbeat: Heartbeat, now: float) -> None:
        self.heard_at = now
        self._heartbeat = heartbeat
        self._pinged_at = self._due = float("-inf")
        self._dripped = 0

    def bytes_came(self, size: int, now: float, *, end_a_frame: bool) -> None:
        """Bytes came, which end a frame or not."""
        self._dripped += size
        if end_a_frame or self._dripped >= PROGRESS:
            self.heard_at, self._dripped = now, 0

    def next_look(self) -> float:
        """When to look at it next."""
        asked = self.heard_at < self._pinged_at  # and nothing was heard since
        self._due = self.heard_at + (self._heartbeat.timeout if asked else self._heartbeat.interval)
        return self._due

    def look(self, now: float) -> Finding:
        """How it is now, at `next_look` or later."""
        interval = self._heartbeat.interval
        silent = now - self.heard_at
        if (
            now - self._due > interval
        ):  # this process slept, not the node: its bytes may be waiting to be read
            self.heard_at = now - interval
        elif silent >= self._heartbeat.timeout:
            return Finding.DEAD
        elif silent >= interval and self.heard_at >= self._pinged_at:
            self._pinged_at = now
            return Finding.ASK
        return Finding.WELL
