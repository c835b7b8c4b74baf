"""One courier for each sink: the one who opens and closes them, at the start and whenever that changes.

Each sink goes its own way. One that hangs while it is closed holds up neither a reload nor any other sink.
What was asked for meanwhile is what comes next: the last wish counts.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.config import SinkConfig
from tdbwatch.daemon.couriers import Counts, Courier, CourierStatus
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.delivery.redelivery import Receiver
from tdbwatch.daemon.hosting.hosts import Host
from tdbwatch.daemon.spool.errors import SpoolError

MOST_STUCK: Final = 3
"""Threads of one sink that were left behind, since they do not come back: no more are begun."""
_LOOK: Final = 1.0
_SOON: Final = 1.0
"""Seconds after which it is said for which sinks the end waits."""
_STUCK: Final = (
    "its thread does not come back, nor do those before; it is opened when one does, or by a restart"
)


@dataclass(frozen=True, slots=True)
class Delivering:
    """A sink that is open, or being opened or closed.

    Attributes:
        host: where it lives.
    """

    config: SinkConfig
    courier: Courier
    host: Host


@dataclass(eq=False, slots=True)
class _Place:
    """What is wanted of one name, and what there is.

    Attributes:
        wanted: None: no sink.
        now: the last that there was; None: there was none yet.
        is_open: whether `now` delivers.
        task: gets from what there is to what is wanted.
        blocked: whether it cannot be opened for now.
        counts: of all that there were.
    """

    wanted: SinkConfig | None = None
    now: Delivering | None = None
    is_open: bool = False
    blocked: bool = False
    counts: Counts = field(default_factory=Counts)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Deliveries:
    """The couriers of all sinks.

    Args:
        make: makes what delivers to a sink, and counts on from there.
        wants: gives what tells whether the routes send an event to a sink.
        watch: told of each task whose death must not go unnoticed.
        grace: gives the seconds in which a sink may finish.
        durable: waits until all that was heard is in the log.
        gone: told of the name of a sink that is closed for good.
    """

    def __init__(
        self,
        make: Callable[[SinkConfig, Counts], Delivering],
        wants: Callable[[str], Callable[..., bool]],
        watch: Callable[["asyncio.Future[Any]"], None],
        grace: Callable[[], float],
        durable: Callable[[], Awaitable[None]],
        gone: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.receivers: dict[str, Receiver] = {}
        """Those that can get copies, by name."""
        self._make = make
        self._wants = wants
        self._watch = watch
        self._grace = grace
        self._durable = durable
        self._gone = gone
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._left = defaultdict[str, list[Host]](list)
        """Of each name, the hosts whose threads did not come back."""
        self._stopping = False
        self._log = structlog.get_logger("tdbwatch.courier")

    @property
    def each(self) -> list[Courier]:
        """The couriers of the sinks that are wanted, as far as they are there."""
        places = self._places.values()
        return [place.now.courier for place in places if place.now is not None and place.wanted is not None]

    @property
    def finished_through(self) -> int | None:
        """Up to here every entry of the log is finished, for every sink; None: there is none."""
        delivering = (place.now for place in self._places.values())
        return min((one.courier.finished_through for one in delivering if one is not None), default=None)

    def statuses(self) -> Iterator[CourierStatus]:
        """How each sink that is wanted is doing."""
        for place in self._places.values():
            if place.now is not None and place.wanted is not None:
                status = place.now.courier.status()
                if place.blocked:
                    health = replace(status.health, last_error=_STUCK)
                    status = replace(status, state="stuck", health=health)
                yield status

    def types(self) -> Mapping[str, str]:
        """The type of each sink."""
        return {name: place.now.config.type for name, place in self._places.items() if place.now is not None}

    def change(self, configs: Iterable[SinkConfig]) -> None:
        """From now on these are the sinks; one whose configuration is the very same stays as it is."""
        wanted = {config.name: config for config in configs}
        for name in [*wanted, *(name for name in self._places if name not in wanted)]:
            place = self._places.setdefault(name, _Place())
            if place.wanted is wanted.get(name):
                continue
            place.wanted = wanted.get(name)
            place.changed.set()
            if place.now is None and place.task is None and not self._left.get(name):
                self._open(place, wanted[name])
            elif place.task is None:
                place.task = asyncio.create_task(self._follow(name, place), name=f"tdbwatch-change-{name}")
                self._watch(place.task)
        self._places = {
            name: self._places[name] for name in dict.fromkeys([*wanted, *self._places])
        }  # in the configuration's order

    async def settled(self, seconds: float) -> tuple[str, ...]:
        """Wait until all is as it is wanted, at most so long; the sinks for which it is not."""
        tasks = {name: place.task for name, place in self._places.items() if place.task is not None}
        if tasks:
            with suppress(DeadlineError):
                await within(self._clock, seconds, _all(tasks.values()))
        return tuple(name for name, task in tasks.items() if not task.done())

    async def caught_up(self) -> None:
        """Return when everything in the spool is finished for every sink."""
        while changing := [place.task for place in self._places.values() if place.task is not None]:
            await asyncio.wait(changing)
        await asyncio.gather(*(courier.caught_up() for courier in self.each))

    async def finish(self, grace: float) -> None:
        """Let sinks that are well get what the log has now, then stop all; within about `grace` seconds."""
        self._stopping = True
        changing = [place.task for place in self._places.values() if place.task is not None]
        for place in self._places.values():
            place.changed.set()
        is_open = [place.now.courier for place in self._places.values() if place.now and place.is_open]
        closing = [place for place in self._places.values() if place.task is not None]
        still = {place.now.courier for place in closing if place.now is not None}
        left = [courier for courier in is_open if courier not in still]
        telling = asyncio.create_task(self._tell_of(left, grace), name="tdbwatch-finishing")
        try:
            await asyncio.gather(*(self._finish(courier, grace, left) for courier in list(left)))
        finally:
            telling.cancel()
        if changing:
            await asyncio.wait(changing, timeout=grace)

    # -- inside ------------------------------------------------------------------------------------------

    async def _finish(self, courier: Courier, grace: float, left: list[Courier]) -> None:
        await courier.finish(grace)
        left.remove(courier)

    async def _tell_of(self, left: Sequence[Courier], grace: float) -> None:
        """Say whom the end waits for, if it does: a sink that may only be slow has the whole grace."""
        await self._clock.sleep(_SOON)
        for courier in left:
            status = courier.status()
            self._log.warning(
                "sink.awaited",
                sink=status.sink,
                plugin=status.plugin,
                events=status.lag,
                seconds=round(grace - _SOON, 1),
                remedy="wait, or send a second signal: it ends at once, and the spool keeps the events",
            )

    def _open(self, place: _Place, config: SinkConfig) -> None:
        place.now = self._make(config, place.counts)
        place.is_open = True
        self._watch(place.now.courier.start())
        self.receivers[config.name] = Receiver(place.now.courier, self._wants(config.name))

    async def _follow(self, name: str, place: _Place) -> None:
        """Get to what is wanted, which may change meanwhile."""
        try:
            while not self._stopping and not self._is_right(place):
                place.changed.clear()
                if place.is_open:
                    await self._close(name, place)
                elif place.wanted is not None and await self._may_open(name, place):
                    self._open(place, place.wanted)
        finally:
            place.task = None
        if place.wanted is None and not self._stopping:
            del self._places[name]
            self._gone(name)

    def _is_right(self, place: _Place) -> bool:
        if place.wanted is None:
            return not place.is_open
        return place.is_open and place.now is not None and place.now.config is place.wanted

    async def _close(self, name: str, place: _Place) -> None:
        """If it is not wanted any more it gets what there is for it, as far as it is well."""
        assert place.now is not None, "it is open"
        self.receivers.pop(name, None)
        courier, until = place.now.courier, self._clock.monotonic() + self._grace()
        if place.wanted is None:
            with suppress(DeadlineError, SpoolError):  # the spool itself says what is wrong
                await within(self._clock, (until - self._clock.monotonic()) / 2, self._durable())
            await courier.finish(max(0.0, until - self._clock.monotonic()))
        else:
            await courier.stop(self._grace())
        place.is_open = False
        if place.now.host.stuck:
            self._left[name].append(place.now.host)

    async def _may_open(self, name: str, place: _Place) -> bool:
        """Whether there are not too many threads of this sink already that do not come back."""
        self._left[name] = [host for host in self._left[name] if host.stuck]
        place.blocked = len(self._left[name]) >= MOST_STUCK
        if place.blocked:
            with suppress(DeadlineError):
                await within(self._clock, _LOOK, place.changed.wait())
        return not place.blocked


async def _all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    await asyncio.wait(list(tasks))
