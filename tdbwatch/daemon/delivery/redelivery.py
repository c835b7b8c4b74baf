"""Serves what people order: deliver again, dead letters or what was heard before.

An order is served in small steps, while its sink keeps up: events are copied to the end of the log, for that
sink only. The spool keeps copies and progress in one commit.
"""

from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.api import Progress, Spool, SpoolError
from tdbwatch.daemon.spool.stored.blocks import Block, heard
from tdbwatch.daemon.spool.stored.orders import Order, ahead
from tdbwatch.plugin.event import Event

INTERVAL: Final = 1.0
"""Seconds between looks for orders."""
STEP: Final = 1_000
"""Dead letters at once, at most."""
_MOST_BEHIND: Final = 5_000
"""Entries that a sink may be behind and still get more of what people ordered."""
_MOST_BYTES_AHEAD: Final = 16 << 20
"""Bytes of copies that it may not even have read."""


class Reading(Protocol):
    """A courier, as far as it matters here."""

    @property
    def position(self) -> int:
        """The last entry that it has read."""

    @property
    def backlog(self) -> int:
        """Entries that the sink could get now and has not."""

    def wake(self, *, rooms: bool = False) -> None:
        """The sink is to be tried at once, whatever it waits for; `rooms`: so are rooms that wait."""


@dataclass(slots=True)
class Receiver:
    """A sink that gets copies.

    Attributes:
        wants: whether the routes send it an event.
        copies: of those made for it, the last entry and the bytes of each step.
    """

    courier: Reading
    wants: Callable[[Event], bool]
    copies: deque[tuple[int, int]] = field(default_factory=deque)

    def keeps_up(self) -> bool:
        """Whether it may get more."""
        while self.copies and self.copies[0][0] <= self.courier.position:
            self.copies.popleft()
        ahead = sum(size for _, size in self.copies)
        return self.courier.backlog <= _MOST_BEHIND and ahead <= _MOST_BYTES_AHEAD


@dataclass(frozen=True, slots=True)
class _Step:
    """What comes next of an order: these events, up to this position; `letters` end with it."""

    events: Sequence[Event]
    position: int
    letters: Sequence[int] = ()


class Redelivery:
    """Takes orders from the spool, for the sinks that there are. Others wait for theirs."""

    def __init__(self, spool: Spool, sinks: MappingOf[str, Receiver], clock: Clock, log: Any = None) -> None:
        self._spool = spool
        self._sinks = sinks
        self._clock = clock
        self._told: dict[int, int] = {}
        """By order that was taken up: how many missed records were told of."""
        self._log = log if log is not None else structlog.get_logger("tdbwatch.redelivery")

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            try:
                moved = await self._round()
            except SpoolError as error:  # the spool itself says what is wrong with it
                self._log.debug("redelivery.put_off", error=str(error))
                moved = False
            if not moved:
                await self._clock.sleep(INTERVAL)

    async def _round(self) -> bool:
        """One step of each order that can be served now; whether there was any."""
        orders = await self._spool.orders()
        for order in orders:
            if order.sink in self._sinks:
                self._take_up(order)
        return any([await self._serve(order) for order in orders])

    def _take_up(self, order: Order) -> None:
        if order.number not in self._told:
            self._told[order.number] = 0
            self._sinks[order.sink].courier.wake(rooms=order.kind == "wake")
        if order.missed and not self._told[order.number]:  # of those to come the end tells
            self._tell_missed(order)

    async def _serve(self, order: Order) -> bool:
        sink = self._sinks.get(order.sink)
        still_there = order.kind == "move" and order.selection.sink in self._sinks
        if sink is None or still_there or not (order.kind == "wake" or sink.keeps_up()):
            return False
        await self._spool.unhurried()
        step = await self._step(order, sink)
        ending = step.position >= order.through
        latest = await self._latest(order) if ending else order
        if not await self._spool.redeliver(order, heard(step.events), step.position, step.letters):
            return False
        if ending:
            if latest.missed > self._told.get(order.number, 0):
                self._tell_missed(latest)
            self._told.pop(order.number, None)
        if step.events:
            size = sum(len(event.payload) for event in step.events)
            sink.copies.append((self._spool.last_seq, size))
        return True

    async def _step(self, order: Order, sink: Receiver) -> _Step:
        if order.kind == "replay":
            return await self._replay(order, sink)
        if order.kind == "requeue":
            return await self._requeue(order)
        if order.kind == "move":
            return await self._move(order, sink)
        return _Step((), order.through)  # it was woken when the order was taken up

    async def _replay(self, order: Order, sink: Receiver) -> _Step:
        blocks = await self._spool.read(order.position, self._spool.redelivery_bytes)
        if not blocks or blocks[0].first_seq > order.through:
            return _Step((), order.through)
        events = [event for block in blocks for event in ahead(order, block) if sink.wants(event)]
        return _Step(events, min(blocks[-1].last_seq, order.through))

    async def _move(self, order: Order, sink: Receiver) -> _Step:
        """What a sink that is gone had not finished: what came while there was such a sink."""
        gone = await self._spool.left(order.selection.sink or "")
        if gone is None:  # it had dead letters only
            return _Step((), order.through)
        if gone.left_at is None:
            raise SpoolError("the disk did not take since when the sink is gone")
        first = min([gone.floor + 1, *(lane.first_seq for lane in gone.behind.values())])
        blocks = await self._spool.read(max(order.position, first - 1), self._spool.redelivery_bytes)
        if not blocks or blocks[0].first_seq > gone.left_at:
            return _Step((), order.through)
        events = [event for block in blocks for event in _left_behind(order, gone, block, sink.wants)]
        return _Step(events, blocks[-1].last_seq)

    async def _requeue(self, order: Order) -> _Step:
        letters = await self._spool.letters(order, STEP, self._spool.redelivery_bytes)
        if not letters:
            return _Step((), order.through)
        numbers = [number for number, _ in letters]
        return _Step([entry.event for _, entry in letters], numbers[-1], numbers)

    async def _latest(self, order: Order) -> Order:
        """What went while it was served is known in the end only."""
        return next((now for now in await self._spool.orders() if now.number == order.number), order)

    def _tell_missed(self, order: Order) -> None:
        """The limits took delivered events before they were copied."""
        self._told[order.number] = order.missed
        self._log.warning(
            "spool.replay_missed",
            sink=order.sink,
            records=order.missed,
            remedy="the spool was full of newer ones; raise spool.max_size, or replay less at once",
        )


def _left_behind(order: Order, gone: Progress, block: Block, wants: Callable[[Event], bool]) -> list[Event]:
    """What of a block the sink that is gone was still to get, as far as routes send it to the new one."""
    if block.target not in {None, order.selection.sink}:
        return []
    last = min(block.last_seq, gone.left_at or 0)
    left = (
        event
        for seq, event in block.numbered()
        if order.position < seq <= last and not gone.finished(seq, block.lane)
    )
    return [event for event in left if block.target is not None or wants(event)]
