"""Keeps a courier's lanes filled with what the routes send to its sink."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.couriers.lane import LaneQueue, OnDisk, State
from tdbwatch.daemon.couriers.lanes import Found, Lanes
from tdbwatch.daemon.couriers.pieces import Piece
from tdbwatch.daemon.couriers.progress import Remembered, Saving
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosting.faults import describe
from tdbwatch.daemon.routing.routes import Matcher
from tdbwatch.daemon.spool.api import Spool, SpoolError
from tdbwatch.daemon.spool.spans import Span, holds, outside
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block
from tdbwatch.plugin.event import Event


class Wanted:
    """Makes pieces of blocks.

    Args:
        wants: whether the routes send this event to this sink; a `Matcher` is asked once for each name that
            a block has.
    """

    def __init__(self, sink: str, wants: Callable[[Event], bool]) -> None:
        self._sink = sink
        self._wants = wants

    def piece(
        self, block: Block, after: int, through: int = MOST_SEQ, finished: Sequence[Span] = ()
    ) -> Piece | None:
        """What this sink is to get of it; None: nothing.

        Args:
            after: nothing up to this entry.
            through: nothing beyond this one.
            finished: nor what is in these.

        Raises:
            ValueError: the block is damaged.
        """
        if block.target is not None and block.target != self._sink:
            return None
        block.runs  # noqa: B018 - raises, if it is damaged
        piece = Piece.of(block)
        if finished or not after < block.first_seq <= block.last_seq <= through:
            seqs = enumerate(piece.seqs)
            piece = piece.only(
                [at for at, seq in seqs if after < seq <= through and not holds(finished, seq, seq)]
            )
        piece = self._routed(piece, block)
        return piece if piece.count else None

    def _routed(self, piece: Piece, block: Block) -> Piece:
        wants, ours = self._wants, block.target is not None
        if not isinstance(wants, Matcher):
            return piece if ours else piece.only(_indexes(map(wants, piece.events)))
        wants = wants.as_of(block.last_seq)
        wants.count(block)
        answers = {pair: wants.by_name(pair[0], *block.lane, pair[1]) for pair in block.distinct_names}
        if all(answers.values()):
            return piece
        if None in answers.values():
            given = wants.given(block)
            return piece.changed({**dict(block.numbered()), **given} if ours else given)
        if ours:
            return piece
        return piece.only(_indexes(piece.of_each(block, [answers[pair] for pair in block.names])))


def _indexes(answers: Iterable[bool | None]) -> list[int]:
    """Where the answer is yes."""
    return [index for index, answer in enumerate(answers) if answer]


_READ_BYTES: Final = 4 << 20
_READ_RETRY: Final = 1.0
_PATIENCE: Final = 1.0
"""Seconds for which lanes that the sink has may keep the memory full with what is behind that."""


@dataclass(slots=True, eq=False)
class Reading:
    """Reads the spool from the lanes' position on, and again those lanes that are in the log only.

    Attributes:
        end: an entry beyond which nothing new is read; None: there is no end.
        counted: whether it is known how much there is of the lanes that were behind before a restart.
    """

    _spool: Spool
    _lanes: Lanes
    _wanted: Wanted
    _remembered: Remembered
    _health: Health
    _saving: Saving
    _clock: Clock
    end: int | None = None
    counted: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Reading on and reading again take turns."""

    async def run(self) -> None:
        """Read until cancelled."""
        await self._count()
        self.counted = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_on(), name="courier-reader")
            group.create_task(self._read_again(), name="courier-rereader")

    async def _count(self) -> None:
        """How much of the lanes that were behind before a restart there is: only the log knows.

        The routes are asked about the beginning of it, as much as one read may take; of the rest all counts.
        """
        space = _READ_BYTES
        for queue in list(self._lanes):
            if (disk := queue.disk) is not None:
                with suppress(SpoolError):
                    through, count, size = await self._asked(queue, disk, space)
                    space -= size
                    for first, last in outside(queue.beyond, through + 1, disk.last_seq):
                        count += await self._spool.count_lane(queue.lane, first - 1, last)
                    disk.count += count

    async def _asked(self, queue: LaneQueue, disk: OnDisk, space: int) -> tuple[int, int, int]:
        """Up to where the routes were asked about a lane, how much of that they send here, and its bytes."""
        after, last_seq = disk.first_seq - 1, disk.last_seq
        try:
            blocks = await self._spool.read_lane(queue.lane, after, last_seq, space) if space > 0 else []
            pieces = [self._wanted.piece(block, after, last_seq, queue.beyond) for block in blocks]
        except ValueError:  # it is told of when the lane is read
            return after, 0, 0
        through = min(blocks[-1].last_seq, last_seq) if blocks else after
        count = sum(piece.count for piece in pieces if piece is not None)
        return through, count, sum(len(block.body) for block in blocks)

    async def _read_on(self) -> None:
        """Read what comes, until cancelled or at the end."""
        lanes = self._lanes
        while True:
            await self._spool.wait_after(lanes.position)
            if self.end is not None and lanes.position >= self.end:
                return
            while (held := self._held) > 0:
                await self._moves(held)
            async with self._turn:
                await self._space()
                found = await self._read()
            # What is in memory is read without a pause, so that others get their turn here.
            await self._clock.sleep(0 if found else _READ_RETRY)

    async def _read_again(self) -> None:
        """Read the lanes that are in the log only and may go on, until cancelled."""
        lanes = self._lanes
        while True:
            while not lanes.to_read:
                await self._saving.moved.wait()
            async with self._turn:
                await self._space()
                found = await self._read_lanes(self._remembered.next(lanes.to_read))
            await self._clock.sleep(0 if found else _READ_RETRY)

    @property
    def _held(self) -> float:
        """For how long reading on is of no use: the sink is left alone, and what was never tried waits.

        Without such a thing, only what failed would be tried again when the time comes, for ever.
        """
        seconds = self._health.breaker.untried_hold_until - self._clock.monotonic()
        return seconds if self._lanes.turns.ready else 0.0

    async def _space(self) -> None:
        """Wait until there is space for more, and until taking events in leaves time for it."""
        lanes, patience = self._lanes, float("inf")
        while lanes.memory.full and not lanes.let_go(self._clock.monotonic(), patience):
            patience = _PATIENCE
            await self._moves(_PATIENCE)
            if lanes.held_up and not self._health.breaker.open:
                self._health.held_up(len(lanes.turns.waiting), lanes.memory.count)
        await self._spool.unhurried()

    async def _moves(self, seconds: float) -> None:
        """Wait for so many seconds, or until lanes change."""
        with suppress(DeadlineError):
            await within(self._clock, seconds, self._saving.moved.wait())

    async def _read(self) -> bool:
        """Read on; False: nothing can be read at the moment."""
        spool, lanes, end = self._spool, self._lanes, self._spool.last_seq
        try:
            blocks = await spool.read(lanes.position, min(lanes.memory.to_read(), _READ_BYTES))
            pieces = [self._wanted.piece(block, lanes.position) for block in blocks]
        except (SpoolError, ValueError) as error:
            self._health.unreadable(describe(error))
            return False
        if not blocks and max(end, spool.first_seq - 1) <= lanes.position:
            return False
        now = self._clock.monotonic()
        for block, piece in zip(blocks, pieces, strict=True):
            if piece is not None:
                lanes.add(block.lane, piece, now)
        lanes.position = blocks[-1].last_seq if blocks else max(end, spool.first_seq - 1)
        lanes.memory.learn(blocks)
        self._saving.tell()
        return True

    async def _read_lanes(self, queues: list[LaneQueue]) -> bool:
        """Read these lanes, which go on together; False: one cannot be read at the moment."""
        found = list[Found]()
        try:
            while queues:
                found += await self._read_lane(queues[0])
                del queues[0]
        except (SpoolError, ValueError) as error:
            self._lanes.to_read.extendleft(reversed(queues))
            self._health.unreadable(describe(error))
        found = [one for one in found if one[0].state is State.READING]  # the log may have given it up since
        past = self._remembered  # what it says of a lane goes from there to its pieces in one step
        laid = [(queue, past.lay_over(queue, pieces), through) for queue, pieces, through in found]
        self._lanes.found(laid, self._clock.monotonic())
        self._saving.tell()
        return not queues

    async def _read_lane(self, queue: LaneQueue) -> list[Found]:
        """The next that the log has of a lane; nothing, if it has given it up.

        Of a sink that fails that is one batch: what is behind what failed is forgotten, to be read again.
        """
        if (disk := queue.disk) is None:
            return []
        last_seq = disk.last_seq
        count = sum(past.count for past in queue.remembered) or None
        if count is None and self._health.breaker.failures:
            count = self._lanes.memory.batch
        max_bytes = min(self._lanes.memory.to_read(count), _READ_BYTES)
        blocks = await self._spool.read_lane(queue.lane, disk.first_seq - 1, last_seq, max_bytes)
        through = min(blocks[-1].last_seq, last_seq) if blocks else last_seq
        after = disk.first_seq - 1  # that may have moved meanwhile
        pieces = [self._wanted.piece(block, after, through, queue.beyond) for block in blocks]
        return [(queue, [piece for piece in pieces if piece is not None], through)]
