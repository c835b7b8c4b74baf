"""A block that is spoilt within: the runs that can still be read, as blocks again. Pure."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgpack
import msgspec

from tdbwatch.daemon.spool.stored.blocks import SQUEEZED, Block, Run, encode_run, pack, sound

_UNREADABLE: Final = (ValueError, TypeError, RecursionError, msgpack.UnpackException)
_PIECE: Final = 512
_decode_run: Final = msgspec.msgpack.Decoder(Run).decode


def opened(stored: bytes) -> bytes:
    """As `unsqueeze`, but of a body that is cut short or spoilt what comes before that place."""
    if stored[:1] != SQUEEZED:
        return stored
    opener, found = zlib.decompressobj(), bytearray()
    with suppress(zlib.error):
        for start in range(0, len(stored), _PIECE):
            found += opener.decompress(stored[start : start + _PIECE])
    return bytes(found)


def salvaged(block: Block) -> list[Block]:
    """A block's sound runs: those before the first spoilt one, and those behind it; a sound block as it is.

    What is behind ends where the block does: with a number that is too high a sink may get an event twice,
    with one that is too low perhaps never.
    """
    try:
        block.runs  # noqa: B018 - raises, if they are spoilt
        return [block]
    except ValueError:
        runs = list(_runs(block.body))
    spoilt = runs.index(None) if None in runs else len(runs)
    before, behind = ([run for run in some if run is not None] for some in (runs[:spoilt], runs[spoilt:]))
    next_seq = block.first_seq + _size(before)
    places = (block.first_seq, before), (max(next_seq, block.last_seq + 1 - _size(behind)), behind)
    return [_part(block, first_seq, some) for first_seq, some in places if some]


def _runs(body: bytes) -> Iterator[Run | None]:
    """The runs as far as their bounds can be told; None for a spoilt one, and once for what is cut off."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(body)
    try:
        for _ in range(unpacker.read_array_header()):
            at = unpacker.tell()
            unpacker.skip()
            yield _run(body[at : unpacker.tell()])
    except _UNREADABLE:
        yield None


def _run(packed: bytes) -> Run | None:
    try:
        run = _decode_run(packed)
    except (ValueError, RecursionError):
        return None
    return run if sound(run) else None


def _part(block: Block, first_seq: int, runs: Sequence[Run]) -> Block:
    return Block(first_seq, _size(runs), block.lane, block.target, pack(list(map(encode_run, runs))))


def _size(runs: Sequence[Run]) -> int:
    return sum(len(run.events) for run in runs)
