"""Limits of durations and sizes, in units as users write them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tdbwatch.plugin.options import parse_duration, parse_size

_SECONDS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6}
_BYTES: Final = {
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "kB": 1000,
    "B": 1,
}
_QUANTITIES: Final[tuple[tuple[Callable[[object], float], str, Mapping[str, float]], ...]] = (
    (parse_duration, "s", _SECONDS),
    (parse_size, "B", _BYTES),
)


def in_unit_of(value: Any, limit: float) -> str:
    """The limit of a value: `1MiB` for a size, `1m` for a duration, as it is for a number.

    Args:
        value: as it stands in the configuration.
        limit: in bytes or seconds, where the value is a size or a duration.
    """
    for parse, base, units in _QUANTITIES:
        try:
            parse(value)
        except ValueError:
            continue
        fits = (f"{limit / size:.0f}{unit}" for unit, size in units.items() if limit and _whole(limit / size))
        return next(fits, f"{limit:g}{base}")
    return str(limit)


def _whole(number: float) -> bool:
    return number >= 1 and abs(number - round(number)) < 1e-9
