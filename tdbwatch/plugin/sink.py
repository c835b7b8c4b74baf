"""What a sink is: where events go.

`Sink.deliver` gets a batch and says what became of it. Around it tdbwatch keeps the promises: order per
room, deadlines, retries, dead letters. A sink of a user's plugin runs in a thread with an event loop of its
own, so even one that blocks for ever holds up nobody else.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.plugin.event import Event
from tdbwatch.plugin.options import Options
from tdbwatch.plugin.outcome import DELIVERED, Outcome, Retry

_MARK = "__tdbwatch_sink__"
Verdict = Outcome | Sequence[Outcome] | None
"""None: all delivered. One outcome: it holds for the whole batch. A sequence: one for each event, in order;
where it is shorter than the batch, the rest was not tried and is offered again."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What tdbwatch gives to a sink that it makes."""

    name: str
    """The sink's name in the configuration."""
    log: Any = field(default_factory=structlog.get_logger)
    """A structlog logger, bound to the sink's name."""
    clock: Clock = SYSTEM_CLOCK


class Sink:
    """Base of sinks. Only `deliver` must be written."""

    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any, context: SinkContext) -> None:
        self.options = options
        self.context = context

    async def open(self) -> None:
        """Get ready: called once before the first delivery, and again after it raised."""

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        """Take these events, in order.

        Called for one batch at a time unless `max_in_flight` allows more; always within the sink's
        `timeout`. After a crash the same events can come again, with the same ids: at least once.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of everything: called once, after the last delivery."""


@dataclass(frozen=True, slots=True)
class SinkType:
    """A kind of sink, as `type:` in the configuration names it."""

    name: str
    factory: Callable[[Any, SinkContext], Sink]
    options: type[Options] = Options
    threaded: bool = True
    """Run in a thread of its own. Only for code known never to block the event loop is False right."""

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().partition("\n")[0]  # getdoc would show a base's


_T = TypeVar("_T", bound=Callable[..., Any])


def sink(name: str, *, threaded: bool = True) -> Callable[[_T], _T]:
    """Offer the decorated function, or `Sink` class, as sink type `name`.

    A function gets one event at a time; it may be plain or async, and returns what `Sink.deliver` returns
    or nothing. A class with options of its own names their model as its attribute `Options`.
    """

    def mark(target: _T) -> _T:
        if inspect.isclass(target) and issubclass(target, Sink):
            made = SinkType(name, target, target.Options, threaded)
        else:
            made = SinkType(name, _function_factory(target), Options, threaded)
        setattr(target, _MARK, made)
        return target

    return mark


def marked(target: object) -> SinkType | None:
    """The sink type that `@sink` put on `target`, if it did."""
    # A class does not inherit its base's mark: it is a sink type of its own, or none.
    found = vars(target).get(_MARK) if inspect.isclass(target) else getattr(target, _MARK, None)
    return found if isinstance(found, SinkType) else None


class FunctionSink(Sink):
    """Calls a function for each event."""

    def __init__(self, function: Callable[[Event], Any], options: Any, context: SinkContext) -> None:
        super().__init__(options, context)
        self._function = function

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        outcomes: list[Outcome] = []
        for event in batch:
            try:
                result = self._function(event)
                if isinstance(result, Awaitable):
                    result = await result
            except Exception:
                if not outcomes:
                    raise
                break  # what came before is delivered; this one comes first next time, and raises again
            outcomes.append(DELIVERED if result is None else result)
            if isinstance(result, Retry):
                break
        return outcomes


def _function_factory(function: Callable[[Event], Any]) -> Callable[[Any, SinkContext], Sink]:
    def make(options: Any, context: SinkContext) -> Sink:
        return FunctionSink(function, options, context)

    make.__doc__ = function.__doc__
    return make
