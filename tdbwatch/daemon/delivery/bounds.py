"""Events that would eat the memory: decoding can make a hundred bytes of each byte. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tdbwatch.plugin.event import Event
from tdbwatch.plugin.outcome import Rejected

MOST_VALUES: Final = 1_000_000
"""Values in one event: numbers, texts, lists, maps and what is in these. Each takes some 100 bytes."""
_MOST_REMEMBERED: Final = 256
_ONE_BYTE: Final = re.compile(rb"[\x00-\x9f\xc0-\xc3\xe0-\xff]+")
"""Values of which nothing follows: small integers, the heads of short lists and maps, nil, booleans."""
_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""By the first byte, how many bytes say how long the value is."""
_SIZES: Final = {
    **{0xA0 | size: 1 + size for size in range(32)},
    **dict.fromkeys((0xCC, 0xD0), 2),
    **dict.fromkeys((0xCD, 0xD1, 0xD4, 0xDC, 0xDE), 3),
    **dict.fromkeys((0xCA, 0xCE, 0xD2, 0xDD, 0xDF), 5),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 9),
    0xD5: 4,
    0xD6: 6,
    0xD7: 10,
    0xD8: 18,
}
"""By the first byte, how many bytes the value takes; of lists and maps the head."""
_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9})
_answers: Final[dict[str, bool]] = {}


def measure(packed: bytes, most: int) -> tuple[int, int]:
    """How many values so many bytes of MessagePack hold, and how long the longest of them is, in bytes.

    Nothing is decoded. Beyond `most` values nothing more is looked at.
    """
    position, values, longest, end = 0, 0, 1, len(packed)
    while position < end and values <= most:
        if (run := _ONE_BYTE.match(packed, position)) is not None:
            values += run.end() - position
            position = run.end()
            continue
        first = packed[position]
        size = _SIZES.get(first)
        if size is None:
            width = _LENGTHS[first]
            length = int.from_bytes(packed[position + 1 : position + 1 + width], "big")
            size = 1 + width + (first in _EXTENSIONS) + length
        position += size
        longest = max(longest, size)
        values += 1
    return values, longest


def has_more_values(packed: bytes, most: int) -> bool:
    """Whether so many bytes of MessagePack hold more than `most` values. Nothing is decoded."""
    return len(packed) > most and measure(packed, most)[0] > most


def is_too_large(event: Event) -> bool:
    """Whether an event holds more values than may be decoded. All sinks ask; it is found out once."""
    if len(event.payload) <= MOST_VALUES:
        return False
    if (known := _answers.get(event.id)) is not None:
        return known
    if len(_answers) >= _MOST_REMEMBERED:
        del _answers[next(iter(_answers))]
    answer = _answers[event.id] = has_more_values(event.payload, MOST_VALUES)
    return answer


def too_large(events: Sequence[Event]) -> dict[int, Rejected]:
    """By their index, those of these events that no sink can be given, each with the reason."""
    return {
        index: Rejected(
            f"it has {len(event.payload):,} bytes with more than {MOST_VALUES:,} values, and would take too"
            " much memory to decode; emit it in parts"
        )
        for index, event in enumerate(events)
        if is_too_large(event)
    }
