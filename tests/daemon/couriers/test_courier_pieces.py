"""Pieces: they hold no more of the log than what they are for."""

import weakref

from tdbwatch.daemon.couriers.pieces import UNTRIED, Failure, Piece
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, encode_run, pack, run_of
from tdbwatch.plugin import Event

LANE = Lane("//stuff", "alerts")
COUNT = 200
FAILED = Failure(1, 0.0, 0, "busy", "busy")


def whole() -> tuple[Piece, Block]:
    events = [Event.create(LANE.room, f"e{number}", [number, "x" * 200]) for number in range(COUNT)]
    block = Block(11, COUNT, LANE, None, pack([encode_run(run_of(event)) for event in events]))
    return Piece.of(block), block


def test_a_few_entries_that_routes_choose_do_not_hold_their_block() -> None:
    piece, block = whole()
    few = piece.only([0, 70, 199])
    size, said = few.size, [event.args[0] for event in few.events]
    gone = weakref.ref(block)
    del piece, block
    assert gone() is None
    assert (few.seqs, said, size) == ([11, 81, 210], [0, 70, 199], sum(few.only([n]).size for n in range(3)))


def test_a_few_entries_that_failed_do_not_hold_their_block() -> None:
    piece, block = whole()
    failed = piece.split(4)[0].failed(FAILED)
    gone = weakref.ref(block)
    del piece, block
    assert gone() is None
    assert ([event.event for event in failed.events], failed.failure) == (["e0", "e1", "e2", "e3"], FAILED)


def test_most_entries_of_a_block_share_its_records_with_all_other_sinks() -> None:
    piece, block = whole()
    most = piece.only(range(0, COUNT, 2)).failed(UNTRIED)
    assert most.lines[0] is block.lines[0]
