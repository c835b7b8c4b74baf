"""Numbers, sizes and times as people read them. Pure."""

from typing import Final

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 event`, `2,000 events`; `plural` where an `s` does not make it."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """The two largest units that matter: `850 ms`, `12 s`, `3 min 20 s`, `2 d 4 h`."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    rest = int(seconds)
    for index, (step, unit) in enumerate(_STEPS):
        if rest >= step:
            smaller, smaller_unit = (*_STEPS, (1, "s"))[index + 1]
            more = rest % step // smaller
            return f"{rest // step} {unit}" + (f" {more} {smaller_unit}" if more else "")
    return f"{rest} s"


def ago(then_us: int, now_us: int) -> str:
    """`just now`, `12 s ago`; times in microseconds since the Unix epoch."""
    seconds = (now_us - then_us) / 1e6
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def size(count: int) -> str:
    """Bytes: `512 B`, `1.5 MiB`."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"
