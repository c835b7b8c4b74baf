"""What of a block the routes send to a sink. Pure."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from tdbwatch.daemon.couriers.pieces import OVERHEAD, Piece
from tdbwatch.daemon.routes import Matcher
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.plugin.event import Event

_kind_and_name: Final = attrgetter("kind", "event")


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
        self, block: Block, after: int, through: int | None = None, finished: Sequence[int] = ()
    ) -> Piece | None:
        """What this sink is to get of it; None: nothing.

        Args:
            after: nothing up to this entry.
            through: nothing beyond this one.
            finished: nor these.

        Raises:
            ValueError: the block is damaged.
        """
        if block.target is not None and block.target != self._sink:
            return None
        seqs = range(block.first_seq, block.last_seq + 1)
        piece = Piece(seqs, block.events, len(block.body) + OVERHEAD * block.count)
        if after >= block.first_seq:
            piece = piece.split(min(len(seqs), after - block.first_seq + 1))[1]
        if through is not None and through < block.last_seq:
            piece = piece.split(max(0, piece.count - (block.last_seq - through)))[0]
        if done := frozenset(finished):
            piece = piece.only([index for index, seq in enumerate(piece.seqs) if seq not in done])
        if block.target is None:
            piece = self._routed(piece, block)
        return piece if piece.count else None

    def _routed(self, piece: Piece, block: Block) -> Piece:
        wants, events = self._wants, piece.events
        if not isinstance(wants, Matcher):
            return piece.only([index for index, event in enumerate(events) if wants(event)])
        wanted = {pair for pair in block.names if wants.by_name(pair[0], *block.lane, pair[1])}
        if len(wanted) == len(block.names):
            return piece
        return piece.only([index for index, pair in enumerate(map(_kind_and_name, events)) if pair in wanted])
