"""What the author says of the sink under test, and what all checks need."""

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, NoReturn
from unittest import SkipTest

from tdbwatch.plugin import (
    Delivered,
    Event,
    Options,
    Outcome,
    Rejected,
    SinkClient,
    SinkContext,
    SinkStore,
    SinkType,
)
from tdbwatch.testing.conformance.fault import fault
from tdbwatch.testing.conformance.life import Life
from tdbwatch.testing.sinks import make_event, options_for, sink_type_of

THERE_FIRST: Final = "return DELIVERED when it is there, not sooner"


class Subject:
    """The sink under test. `sink` must be given; each of the methods makes further checks possible.

    Attributes:
        sink: what `@sink` decorates, a hook or an object that has hooks, or a `SinkType`.
        options: as users write them.
        client: what `context.client` is, if the sink asks ThingsDB: `node.client()` of an `EmbeddedNode`.
        limit: seconds for every wait. A sink that conforms never comes near it.
    """

    sink: ClassVar[Any]
    options: Mapping[str, Any] | Options = {}  # noqa: RUF012 - nobody changes it
    client: SinkClient | None = None
    limit: float = 10.0

    def an_event(self, number: int) -> Event:
        """An event that the sink delivers."""
        return make_event("alerts", "disk-full", [f"db{number}", 91])

    def delivered(self) -> Sequence[str] | None:
        """The ids of the events that are where the sink brings them, in the order in which they came there.

        An id may be there more than once. None: this cannot be seen, and is not checked.
        """
        return None

    def failing(self, after: int) -> AbstractContextManager[object]:  # noqa: ARG002 - for those who define it
        """While it lasts, what the sink talks to takes `after` more requests, and then fails."""
        _needs("failing(after)", "what becomes of events when their destination fails")

    def stalled(self) -> AbstractContextManager[object]:
        """While it lasts, what the sink talks to does not answer."""
        _needs("stalled()", "whether the sink can be stopped while its destination does not answer")

    def restart(self) -> None:
        """Kill what the sink talks to, and start it again."""
        _needs("restart()", "what becomes of events when their destination is killed")

    def poison(self) -> Event:
        """An event that the sink can never deliver."""
        _needs("poison()", "what becomes of events beside one that can never be delivered")

    # -- for the checks ----------------------------------------------------------------------------------

    def _sink_type(self) -> SinkType:
        target = inspect.getattr_static(self, "sink")  # a function in a class would be made a method
        return sink_type_of(target.__func__ if isinstance(target, staticmethod) else target)

    def _life(self) -> Life:
        """A new sink with the same store; the one before must be closed."""
        sink_type = self._sink_type()
        store = self.__dict__.setdefault("_store", SinkStore())
        context = SinkContext("test", client=self.client or SinkClient(), store=store)
        return Life(sink_type, options_for(sink_type, self.options), context, self.limit)

    def _events(self, count: int) -> list[Event]:
        return [self.an_event(number) for number in range(count)]

    def _eventually(self, condition: Callable[[], bool]) -> bool:
        """Whether it holds within the limit."""
        until = time.monotonic() + self.limit
        while not condition():
            if time.monotonic() >= until:
                return False
            time.sleep(0.005)
        return True

    def _taken(self, events: Sequence[Event], outcomes: Sequence[Outcome], remedy: str = THERE_FIRST) -> None:
        """Ordinary events were delivered."""
        __tracebackhide__ = True
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                what = f"it rejected an event that is nothing special: {outcome.reason}"
                fault(what, "deliver it, or let an_event(number) make events that the sink takes")
        self._there((event.id for event in events), remedy)

    def _there(self, ids: Iterable[str], remedy: str = THERE_FIRST) -> None:
        """They are where they should be."""
        __tracebackhide__ = True
        if self.delivered() is None:
            return
        wanted = set(ids)
        if not self._eventually(lambda: wanted <= set(self.delivered() or ())):
            missing = len(wanted - set(self.delivered() or ()))
            fault(f"{missing} of {len(wanted)} events that it said are delivered are not there", remedy)

    def _in_order(self, events: Sequence[Event]) -> None:
        """They came in the order in which they were given; what came again does not count."""
        __tracebackhide__ = True
        ids = [event.id for event in events]
        came = [one for one in dict.fromkeys(self.delivered() or ids) if one in ids]
        if came != [one for one in ids if one in came]:
            what = "it delivered events of one room in another order than it got them"
            fault(what, "finish one before the next, or send them together")


def delivered_of(events: Sequence[Event], outcomes: Sequence[Outcome]) -> list[Event]:
    """Those of these events that are delivered."""
    pairs = zip(events, outcomes, strict=False)
    return [event for event, outcome in pairs if isinstance(outcome, Delivered)]


def _needs(hook: str, what: str) -> NoReturn:
    raise SkipTest(f"define {hook}, and the kit checks {what}")
