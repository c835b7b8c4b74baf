"""Routes tried out without a daemon: events in, events and records as the log would have them out. Pure."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from tdbwatch.daemon.holding.holding import Holding
from tdbwatch.daemon.holding.state import Told
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, run_of
from tdbwatch.plugin import Event
from tdbwatch.wire.codec import encode


class Trial:
    """The routes of one configuration, asked as time passes.

    Args:
        rooms: of the configuration.
        begin_us: the time at which it begins, in microseconds.
    """

    def __init__(self, router: Router, rooms: Iterable[Lane], begin_us: int) -> None:
        there = dict.fromkeys(rooms)
        self._holding = Holding(router, made, lambda: there)
        self._holding.load((), begin_us)
        self.now_us = begin_us

    def passes_until(self, now_us: int) -> list[Heard]:
        """Let time pass; what is told meanwhile, each at its time."""
        told: list[Heard] = []
        while (at := self._holding.next_us) is not None and at <= now_us:
            told += self._holding.due(max(at, self.now_us)).heard
        self.now_us = max(now_us, self.now_us)
        return told + list(self._holding.due(self.now_us).heard)

    def hear(self, heard: Sequence[Heard]) -> Sequence[Heard]:
        """These events, with what is told before, as their times say, and because of them."""
        told = [one for _, run in heard for one in self.passes_until(run.received_us)]
        return [*told, *self._holding.heard(heard)]


def made(told: Told, now_us: int) -> Heard:
    """A record, made at this time."""
    event = Event.create(
        told.lane.room,
        told.event,
        kind=told.kind,
        scope=told.lane.scope,
        details=told.details,
        received_us=now_us,
    )
    fields = encode(dict(told.fields)) if told.fields else b""
    return told.lane, run_of(replace(event, to=tuple(told.to), packed_fields=fields))
