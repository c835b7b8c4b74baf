"""Routes that hold events back: so many in a time by key. Decided once, when an event is heard.

The decision goes into the log with the event, and what is remembered of its key into the same commit: so
neither a restart nor a kill lets more through, and sinks that read the log later see the same. What was held
back is counted, and told once in each window, as a record.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

import msgspec

from tdbwatch.daemon.config.rules import Hold, Rule
from tdbwatch.daemon.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, part_of
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.plugin import Event, Kind
from tdbwatch.plugin.event import format_time

INTERVAL: Final = 1.0
"""Seconds between two looks for what is to be told."""
MOST_KEYS: Final = 100_000
"""Keys that are remembered; those that were seen the longest ago go first."""
_LONGEST_KEY: Final = 200


class Known(msgspec.Struct, array_like=True):
    """What a route remembers of the events with one key. Times in microseconds since the Unix epoch.

    Attributes:
        passed: when events were let through, within the time that counts.
        count: events held back that were not told of yet.
        since_us, until_us: when the first and the last of these was heard.
        scope, room: of the last of these.
    """

    passed: list[int]
    count: int = 0
    since_us: int = 0
    until_us: int = 0
    scope: str = ""
    room: str = ""

    def takes(self, now_us: int, hold: Hold) -> bool:
        """Whether one more may pass now; if so, it does."""
        self._forget(now_us, hold.per_us)
        if len(self.passed) >= hold.count:
            return False
        self.passed.append(now_us)
        return True

    def held(self, now_us: int, lane: Lane) -> None:
        """One more was held back."""
        self.since_us = self.since_us or now_us
        self.count, self.until_us = self.count + 1, now_us
        self.scope, self.room = lane

    def is_over(self, now_us: int, hold: Hold) -> bool:
        """Whether nothing needs to be remembered any more."""
        self._forget(now_us, hold.per_us)
        return not self.passed and not self.count

    def _forget(self, now_us: int, per_us: int) -> None:
        """What lies in the future was written before the clock was set back."""
        if self.passed and not now_us - per_us < self.passed[0] <= self.passed[-1] <= now_us + per_us:
            self.passed = [us for us in self.passed if now_us - per_us < us <= now_us + per_us]


class Holding:
    """Asks the routes that hold events back, when events are heard.

    Args:
        record: makes a record: its kind, name, lane, and details.
    """

    def __init__(self, router: Router, record: Callable[[Kind, str, Lane, dict[str, Any]], None]) -> None:
        self._router = router
        self._record = record
        self._rules = router.holding
        self._known: dict[tuple[str, str], Known] = {}
        self._changed: dict[tuple[str, str], Known | None] = {}
        self._lane = Lane("", "")

    def load(self, marks: Iterable[Mark]) -> None:
        """Go on with what was remembered before a restart; of routes that are gone nothing is."""
        for mark in marks:
            key = (mark.route, mark.key)
            try:
                self._known[key] = msgspec.msgpack.decode(mark.state, type=Known)
            except msgspec.MsgspecError:
                self._changed[key] = None
            if mark.route not in self._rules:
                self._known.pop(key, None)
                self._changed[key] = None

    def change(self, router: Router) -> None:
        """From now on ask these routes; of those that stay, what they remember stays.

        What others have held back and not told of is told of now.
        """
        gone = self._rules.keys() - router.holding.keys()
        for (route, key), known in [(one, known) for one, known in self._known.items() if one[0] in gone]:
            del self._known[route, key]
            self._changed[route, key] = None
            if known.count:
                self._tell(self._rules[route], key, known)
        self._router, self._rules = router, router.holding

    def heard(self, heard: Sequence[Heard]) -> Sequence[Heard]:
        """The same, with what is held back, and what is to be remembered with it."""
        if not self._rules:
            return heard
        return [(lane, part) for lane, run in heard for part in self._decided(lane, run)]

    def event(self, event: Event) -> Event:
        """The same of one event, for trying routes out."""
        held = self._hear(event)
        return msgspec.structs.replace(event, held=held) if held else event

    def tell(self, now_us: int) -> None:
        """Make the records that are due, and forget what is over."""
        for (route, key), known in list(self._known.items()):
            hold = self._rules[route].hold
            assert hold is not None, "it holds events back"
            if known.count and now_us - known.since_us >= hold.per_us:
                self._changed[route, key] = known  # goes with the record
                self._tell(self._rules[route], key, known)
            elif known.is_over(now_us, hold):
                del self._known[route, key]
                self._changed[route, key] = None

    def _tell(self, rule: Rule, key: str, known: Known) -> None:
        details = {
            "route": rule.path,
            "key": key,
            "count": known.count,
            "since": format_time(known.since_us),
            "until": format_time(known.until_us),
        }
        known.count = known.since_us = 0
        self._record(Kind.SUPPRESSED, "suppressed", Lane(known.scope, known.room), details)

    def _decided(self, lane: Lane, run: Run) -> Iterator[Run]:
        """The run in parts that the same routes hold back. What changed before goes with the first."""
        plans = {name for name in set(run.events) if self._router.plan(run.kind, *lane, name).holds}
        if not plans:
            yield self._marked(run)
            return
        events = run.unpacked(lane)
        decisions = [self._hear(event) if event.event in plans else () for event in events]
        start = 0
        for held, same in groupby(decisions):
            stop = start + sum(1 for _ in same)
            yield self._marked(part_of(run, start, stop, held=held))
            start = stop

    def _hear(self, event: Event) -> tuple[str, ...]:
        self._lane = Lane(event.scope, event.room)

        def lets_through(rule: Rule, text: str) -> bool:
            return self._lets_through(rule, text, event.received_us)

        return self._router.hear(event, lets_through)

    def _lets_through(self, rule: Rule, text: str, now_us: int) -> bool:
        assert rule.hold is not None, "it holds events back"
        key = (rule.key, text if len(text) <= _LONGEST_KEY else sha256(text.encode()).hexdigest())
        known = self._known.pop(key, None) or Known([])
        self._known[key] = self._changed[key] = known  # the newest is last
        if len(self._known) > MOST_KEYS:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._changed[oldest] = None
        if known.takes(now_us, rule.hold):
            return True
        known.held(now_us, self._lane)
        self._router.held[rule.path] += 1
        return False

    def _marked(self, run: Run) -> Run:
        if not self._changed:
            return run
        changed, self._changed = self._changed, {}
        marks = tuple(
            Mark(*key, b"" if known is None else msgspec.msgpack.encode(known))
            for key, known in changed.items()
        )
        return msgspec.structs.replace(run, marks=marks)
