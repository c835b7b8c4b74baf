"""Makes records of what happens to sinks, which routes can send: a fallback, a page for a dead letter."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.delivery.deliveries import Deliveries
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.routing.current import Routing
from tdbwatch.daemon.routing.routes import Routes
from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.spool.stored.blocks import NOWHERE, Lane
from tdbwatch.plugin import Kind

INTERVAL: Final = 1.0
"""Seconds between two looks at the sinks."""
_MOST_PAYLOAD: Final = 1 << 16
"""Bytes of an event that the record of its dead letter repeats."""
_BAD: Final = frozenset({"stuck", "paused", "refusing"})
_WELL: Final = "recovered"


class SinkWatch:
    """Tells of dead letters and of sinks that change their state, where a route asks for such records."""

    def __init__(self, source: Source, routes: Routes) -> None:
        self._source = source
        self._routes = routes
        self._states: dict[str, str] = {}

    def buried(self, letters: Sequence[DeadLetter]) -> None:
        """These are about to become dead letters; the records go into the log no later.

        There is none of the record of a dead letter: where its sink refuses it, that would never end.
        """
        if not self._routes.now.asks_for(Kind.DEAD_LETTER):
            return
        for letter in letters:
            event = letter.entry.event
            if event.kind != Kind.DEAD_LETTER:
                lane = Lane(event.scope, event.room)
                self._source.record(Kind.DEAD_LETTER, event.event, lane, event.room_id, _details(letter))
        self._source.flush()

    async def run(self, deliveries: Deliveries, routing: Routing, clock: Clock) -> None:
        """Look for ever. Former routes that no sink has to ask any more are let go of."""
        while True:
            self.look(deliveries.statuses())
            if routing.former and (through := deliveries.finished_through) is not None:
                routing.finished(through)
            await clock.sleep(INTERVAL)

    def look(self, sinks: Iterable[CourierStatus]) -> None:
        """See which have changed; if no route asks for that, no sink is looked at."""
        if not self._routes.now.asks_for(Kind.SINK):
            return
        for sink in sinks:
            state, before = _state_of(sink), self._states.get(sink.sink, _WELL)
            if state is not None and state != before:
                self._states[sink.sink] = state
                health = sink.health
                why = health.last_refusal if state == "refusing" else health.last_error
                details = {"sink": sink.sink, "state": state, "reason": why or "", "lag": sink.lag}
                self._source.record(Kind.SINK, state, NOWHERE, None, details)


def _state_of(sink: CourierStatus) -> str | None:
    """What is wrong with a sink as a whole; None: nobody knows yet."""
    if sink.state in _BAD:
        return sink.state
    if sink.health.probing:
        return "failing"
    return _WELL if sink.state in {"running", "retrying"} else None


def _details(letter: DeadLetter) -> dict[str, Any]:
    event = letter.entry.event
    details: dict[str, Any] = {
        "sink": letter.sink,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_error": letter.first_error,
        "last_error": letter.last_error,
        "event_id": event.id,
        "record": None,
    }
    if len(event.payload) <= _MOST_PAYLOAD:
        details["record"] = event.record()
    return details
