"""What a sink is: where events go.

`Sink.deliver` gets a batch and says what became of it. Around it tdbwatch keeps the promises: order per
room, deadlines, retries, dead letters. A sink of a user's plugin runs in a thread with an event loop of its
own, so even one that blocks for ever holds up nobody else.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.plugin.client import LoopError, SinkClient, delivering
from tdbwatch.plugin.contract import (
    check_batch_count,
    check_class,
    check_function,
    check_name,
    check_options,
    takes_context,
)
from tdbwatch.plugin.event import Event
from tdbwatch.plugin.metrics import SinkMetrics
from tdbwatch.plugin.options import Options
from tdbwatch.plugin.outcome import DELIVERED, Outcome, Rejected, Retry
from tdbwatch.plugin.store import SinkStore

_MARK = "__tdbwatch_sink__"
_FUNCTION_SECONDS = 1.0
DEFAULT_BATCH: Final = 100
DEFAULT_BATCH_BYTES: Final = 1_000_000
"""Events that a sink gets at once at most, unless its type or the configuration says otherwise."""
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
    metrics: SinkMetrics = field(default_factory=SinkMetrics)
    """Makes metrics of its own, which `/metrics` shows beside tdbwatch's."""
    client: SinkClient = field(default_factory=SinkClient)
    """Asks ThingsDB, by the daemon's connections."""
    store: SinkStore = field(default_factory=SinkStore)
    """Keeps a little across restarts."""


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
    batch_count: int = DEFAULT_BATCH
    """At most so many events at once, unless the configuration says otherwise."""
    batch_bytes: int = DEFAULT_BATCH_BYTES
    """The same in bytes of payload; one event always fits."""
    hears: frozenset[str] = frozenset()
    """The kinds of records that a plugin's hooks hear; with some it is a sink without being configured."""

    def __post_init__(self) -> None:
        """Refuse what would fail later.

        Raises:
            TypeError, ValueError: it breaks the contract; the message says how.
        """
        check_name(self.name)
        check_options(self.options)
        check_batch_count(self.batch_count)
        if inspect.isclass(self.factory) and issubclass(self.factory, Sink):
            check_class(self.factory, Sink)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().partition("\n")[0]  # getdoc would show a base's


_T = TypeVar("_T", bound=Callable[..., Any])


def sink(
    name: str,
    *,
    threaded: bool = True,
    options: type[Options] | None = None,
    batch_count: int = DEFAULT_BATCH,
    batch_bytes: int = DEFAULT_BATCH_BYTES,
) -> Callable[[_T], _T]:
    """Offer the decorated function, or `Sink` class, as sink type `name`.

    A function gets one event at a time; it may be plain or async, and returns an `Outcome`, or nothing for
    `DELIVERED`. With `options`, their model, it gets the configured ones as a second argument. One that has
    an argument called `context` gets the `SinkContext`, too. A class with
    options of its own names their model as its attribute `Options`. A sink that takes many events about as
    fast as one may offer a larger `batch_count` and `batch_bytes`; users can still set
    `batch: {count: ..., bytes: ...}`.

    Raises:
        TypeError, ValueError: what is decorated breaks the contract; the message says how.
    """
    check_name(name)

    def mark(target: _T) -> _T:
        if inspect.isclass(target) and issubclass(target, Sink):
            if options is not None:
                raise TypeError(f"{target.__name__}: a class names its options as its attribute Options")
            made = SinkType(name, target, target.Options, threaded, batch_count, batch_bytes)
        else:
            check_function(target, with_options=options is not None)
            factory = _function_factory(target, with_options=options is not None)
            made = SinkType(name, factory, options or Options, threaded, batch_count, batch_bytes)
        setattr(target, _MARK, made)
        return target

    return mark


def marked(target: object) -> SinkType | None:
    """The sink type that `@sink` put on `target`, if it did."""
    # A class does not inherit its base's mark: it is a sink type of its own, or none.
    found = vars(target).get(_MARK) if inspect.isclass(target) else getattr(target, _MARK, None)
    return found if isinstance(found, SinkType) else None


async def delivered_by(sink: Sink, batch: Sequence[Event]) -> Verdict:
    """What the sink says of these events; what it emits meanwhile follows from them.

    One that would go on a loop is rejected. Of several nobody knows which it is: they are offered again, and
    one by one soon.
    """
    try:
        with delivering(batch):
            return await sink.deliver(batch)
    except LoopError as error:
        if len(batch) > 1:
            raise
        return Rejected(str(error))


class FunctionSink(Sink):
    """Calls a function for each event, in order, and stops at the first that is to be tried again."""

    def __init__(self, function: Callable[[Event], Any], options: Any, context: SinkContext) -> None:
        super().__init__(options, context)
        self._function = function

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        """Whatever is left after a while waits for the next call, which has the whole `timeout` again.

        Otherwise a slow function and a long batch would never get to their end, only to their deadline.
        """
        until = self.context.clock.monotonic() + _FUNCTION_SECONDS
        outcomes: list[Outcome] = []
        for event in batch:
            try:
                outcomes.append(await outcome_of(self._function, event))
            except Exception:
                if not outcomes:
                    raise
                break  # what came before is delivered; this one comes first next time, and raises again
            if isinstance(outcomes[-1], Retry) or self.context.clock.monotonic() >= until:
                break
        return outcomes


async def outcome_of(function: Callable[[Event], Any], event: Event) -> Outcome:
    """What a plain or async function says of an event.

    Raises:
        TypeError: it returned what is no outcome.
    """
    try:
        with delivering((event,)):
            result = function(event)
            if isinstance(result, Awaitable):
                result = await result
    except LoopError as error:
        return Rejected(str(error))
    if result is None:
        return DELIVERED
    if not isinstance(result, Outcome):
        name = getattr(function, "__name__", "the function")
        raise TypeError(
            f"{name} returned {type(result).__name__}; return Delivered, Retry, Rejected, or nothing"
        )
    return result


def _function_factory(
    function: Callable[..., Any], *, with_options: bool
) -> Callable[[Any, SinkContext], Sink]:
    wants_context = takes_context(function)

    def make(options: Any, context: SinkContext) -> Sink:
        args = (options,) if with_options else ()
        more = {"context": context} if wants_context else {}

        @functools.wraps(function)
        def call(event: Event) -> Any:
            return function(event, *args, **more)

        return FunctionSink(call, options, context)

    make.__doc__ = function.__doc__
    return make
