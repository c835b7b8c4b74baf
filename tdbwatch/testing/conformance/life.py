"""One life of a sink: made, opened, called and closed in a thread of its own, by the daemon's own code."""

import asyncio
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

from tdbwatch.daemon.couriers.answer import VerdictError, judge
from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.hosting.hosts import SinkHangsError, SinkStuckError, ThreadHost
from tdbwatch.plugin import DELIVERED, Delivered, Event, Options, Outcome, Retry, SinkContext, SinkType
from tdbwatch.plugin.sink import Verdict
from tdbwatch.testing.conformance.fault import ConformanceError, fault, named
from tdbwatch.testing.conformance.watched import Watched, from_the_sink_on

_T = TypeVar("_T")

_TRIES: Final = 5
"""How often in a row a sink may ask for a retry although nothing is wrong: it may have limits of its own."""
OWN_STATE: Final = (
    "keep what belongs to one call of deliver in variables of its own: max_in_flight lets several run at once"
)
_NOT_STARTED: Final = "the sink was never made"


class Life:
    """A sink that lives until the `with` block ends; all waits are bounded by `limit`."""

    def __init__(self, sink_type: SinkType, options: Options, context: SinkContext, limit: float) -> None:
        self._limit = limit
        self._context = context
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._watched: Watched | None = None
        self._host = ThreadHost(lambda: self._make(sink_type, options), name="test", timeout=limit)
        self._is_closed = False
        self._cut_after: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_closed:
            self._runner.run(self._host.close(self._limit))
        self._runner.close()

    @property
    def watched(self) -> Watched:
        """What was seen of it from within."""
        assert self._watched is not None, _NOT_STARTED
        return self._watched

    def open(self) -> None:
        """Open it; it must work."""
        __tracebackhide__ = True
        try:
            self._call("open", self._host.open())
        except ConformanceError:
            raise
        except Exception as error:  # noqa: BLE001 - a sink raises anything
            self._check_late("open", error)
            what = f"open raised {named(error)}, with the options of this test and nothing wrong"
            fault(what, "mend it, or give options that work", from_the_sink_on(error))

    def try_open(self) -> bool:
        """Whether it opens."""
        try:
            self._call("open", self._host.open())
        except ConformanceError:
            raise
        except Exception:  # noqa: BLE001 - what it talks to fails
            return False
        return True

    def deliver(self, events: Sequence[Event]) -> list[Outcome]:
        """Offer events until each is delivered or rejected, as the daemon does; nothing else is wrong."""
        __tracebackhide__ = True
        outcomes: list[Outcome] = []
        tries = 0
        while len(outcomes) < len(events):
            told = self._once(events[len(outcomes) :])
            finished = [one for one in told if not isinstance(one, Retry)]
            outcomes += finished
            tries = 0 if finished else tries + 1
            if tries == _TRIES:
                assert isinstance(told[0], Retry)
                what = f"it asked for a retry {_TRIES} times in a row, with nothing wrong: {told[0].reason}"
                fault(what, "return Rejected for what can never be delivered, and DELIVERED for the rest")
        return outcomes

    def together(self, batches: Sequence[Sequence[Event]]) -> list[list[Outcome]]:
        """Offer these at the same time, each until it is finished, as with `max_in_flight`."""
        __tracebackhide__ = True
        left = [list(batch) for batch in batches]
        outcomes: list[list[Outcome]] = [[] for _ in batches]
        tries = 0
        while any(left):
            tries += 1
            if tries > _TRIES * max(map(len, batches)):
                fault(f"{len(batches)} batches at once were never finished, with nothing wrong", OWN_STATE)
            for index, told in enumerate(self._all_at_once(left)):
                finished = [one for one in told if not isinstance(one, Retry)]
                outcomes[index] += finished
                del left[index][: len(finished)]
        return outcomes

    def _all_at_once(self, batches: Sequence[Sequence[Event]]) -> list[list[Outcome]]:
        __tracebackhide__ = True

        async def all_of_them() -> list[Any]:
            calls = [self._host.deliver(list(batch)) for batch in batches if batch]
            return await asyncio.gather(*calls, return_exceptions=True)

        answers = iter(self._call("deliver", all_of_them()))
        told: list[list[Outcome]] = []
        for batch in batches:
            verdict = next(answers) if batch else None
            if isinstance(verdict, SinkStuckError | SinkHangsError):
                self._stuck("deliver")
            if isinstance(verdict, Exception):
                what = f"deliver raised {named(verdict)} while another batch was under way"
                fault(what, OWN_STATE, from_the_sink_on(verdict))
            told.append(_outcomes(verdict, len(batch)) if batch else [])
        return told

    def attempt(self, events: Sequence[Event]) -> list[Outcome]:
        """Offer events once, to a sink that may fail; raising and being late mean a retry of them all."""
        try:
            return self._ask(events)
        except ConformanceError:
            raise
        except Exception as error:  # noqa: BLE001 - a sink raises anything
            return [Retry(named(error))] * len(events)

    def cut(self, events: Sequence[Event], seconds: float) -> list[Outcome]:
        """Offer events once and cancel the call so long after the sink got them; it must end then."""
        __tracebackhide__ = True
        try:
            return _outcomes(self._call("deliver", self._cut(list(events), seconds)), len(events))
        except ConformanceError:
            raise
        except Exception as error:  # noqa: BLE001 - it was cancelled, or the sink raised
            if not self._runner.run(self._came_back()):
                self._stuck("deliver")
            return [Retry(named(error))] * len(events)

    def cut_open(self, turns: int) -> None:
        """Cancel `open` after so many turns of the event loop; after none it has not begun."""
        self._cut_after = turns
        self.try_open()
        self._check_swallowed("open")

    def cut_deliver(self, events: Sequence[Event], turns: int) -> None:
        """Cancel `deliver` after so many turns of the event loop."""
        self.watched.cut_after = turns
        self.attempt(events)
        self._check_swallowed("deliver")
        self.watched.cut_after = None

    def close(self) -> None:
        """Close it; that must work, in time."""
        __tracebackhide__ = True
        self._is_closed = True
        self._runner.run(self._host.close(2 * self._limit))
        seen = self._watched
        if seen is None or seen.closed:
            return
        if (error := seen.close_error) is not None:
            remedy = "let it work whatever came before: open may have failed or never been called"
            fault(f"close raised {named(error)}", remedy, from_the_sink_on(error))
        what = f"close did not come back within {self._limit:g} s"
        fault(what, "cancel tasks before you wait for them, and bound every wait in it")

    # -- inside ------------------------------------------------------------------------------------------

    def _make(self, sink_type: SinkType, options: Options) -> Watched:
        sink = sink_type.factory(options, self._context)
        self._watched = Watched(sink, self._limit)
        self._watched.cut_after = self._cut_after
        return self._watched

    def _once(self, events: Sequence[Event]) -> list[Outcome]:
        __tracebackhide__ = True
        try:
            return self._ask(events)
        except ConformanceError:
            raise
        except Exception as error:  # noqa: BLE001 - a sink raises anything
            self._check_late("deliver", error)
            what = f"deliver raised {named(error)} for {described(events)}"
            remedy = "mend it; for an event that can never be delivered, return Rejected(reason)"
            fault(what, remedy, from_the_sink_on(error))

    def _ask(self, events: Sequence[Event]) -> list[Outcome]:
        __tracebackhide__ = True
        batch = list(events)
        verdict = self._call("deliver", self._host.deliver(batch))
        if batch != list(events):
            fault("deliver changed the list of events that it was given", "work on a copy: list(batch)")
        return _outcomes(verdict, len(batch))

    def _call(self, what: str, work: Coroutine[Any, Any, _T]) -> _T:
        __tracebackhide__ = True
        try:
            return self._runner.run(work)
        except (SinkStuckError, SinkHangsError):
            self._stuck(what)

    def _check_late(self, what: str, error: Exception) -> None:
        __tracebackhide__ = True
        if isinstance(error, DeadlineError):
            late = f"{what} did not come back within {self._limit:g} s, with nothing wrong"
            fault(late, "bound what it waits for, or return what it has and leave the rest for the next call")

    async def _cut(self, events: list[Event], seconds: float) -> Verdict:
        self.watched.got.clear()
        call = asyncio.ensure_future(self._host.deliver(events))
        while not (self.watched.got.is_set() or call.done()):  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.005)
        return await asyncio.wait_for(call, seconds)

    async def _came_back(self) -> bool:
        """Whether the call that was cancelled ends."""
        until = asyncio.get_running_loop().time() + self._limit
        while self._host.stuck and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return not self._host.stuck

    def _stuck(self, what: str) -> NoReturn:
        __tracebackhide__ = True
        if self._watched is None or self._watched.blocks:
            blocked = f"{what} blocks its event loop, so that no deadline can end it"
            fault(blocked, "use an async library, or give each blocking call a timeout of its own")
        self._swallowed(what)

    def _check_swallowed(self, what: str) -> None:
        __tracebackhide__ = True
        if self._watched is not None and self._watched.swallowed:
            self._swallowed(what)

    def _swallowed(self, what: str) -> NoReturn:
        __tracebackhide__ = True
        goes_on = f"{what} goes on after it was cancelled"
        fault(goes_on, "let asyncio.CancelledError through, and bound what you wait for while you clean up")


def described(events: Sequence[Event]) -> str:
    """What was delivered, in a few words."""
    if len(events) == 1:
        return f"an event {events[0].event[:20]!r} with {len(events[0].payload)} bytes of arguments"
    return f"a batch of {len(events)} events"


def _outcomes(verdict: object, count: int) -> list[Outcome]:
    """One outcome for each event that was tried."""
    __tracebackhide__ = True
    try:
        judged = judge(verdict, count)  # type: ignore[arg-type]  # that is what it checks
    except VerdictError as error:
        remedy = "return DELIVERED, Retry or Rejected for the batch, or a list with one for each event"
        fault(f"deliver's answer is none: {error}", remedy)
    outcomes: list[Outcome] = [one for one in judged or [DELIVERED] * count if one is not None]
    retried = next((index for index, one in enumerate(outcomes) if isinstance(one, Retry)), count)
    if any(isinstance(one, Delivered) for one in outcomes[retried:]):
        what = "it delivered an event although one before it, in the same room, is to be tried again"
        fault(what, "stop at the first Retry; what the list leaves out is offered again")
    return outcomes
