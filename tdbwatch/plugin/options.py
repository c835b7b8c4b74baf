"""Types for a sink's options, as users write them in YAML.

Declare options as a pydantic model, and the configuration checks them with file, line and column:

    class HookOptions(Options):
        url: str
        timeout: Duration = 15.0
        secret: Secret | None = None
"""

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

_DURATION_UNITS: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_SIZE_UNITS: Final = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", 1)},
    "KB": 1000,
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]{1,9})")


class Options(BaseModel):
    """Base of a sink's options: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `500ms`, `10s`, `5m` or `7d`.

    Raises:
        ValueError: anything else; a bare number too, since its unit would be a guess.
    """
    number, unit = _quantity(value, "a duration such as 500ms, 10s, 5m or 7d", "10s")
    if unit not in _DURATION_UNITS:
        raise ValueError(f"{value!r} has no known unit; use one of {', '.join(_DURATION_UNITS)}")
    return number * _DURATION_UNITS[unit]


def parse_size(value: object) -> int:
    """Bytes of a size such as `512kB`, `10MB` or `1GiB`.

    Raises:
        ValueError: anything else; a bare number too, since its unit would be a guess.
    """
    number, unit = _quantity(value, "a size such as 512kB, 10MB or 1GiB", "10MB")
    if unit not in _SIZE_UNITS:
        raise ValueError(f"{value!r} has no known unit; use one of {', '.join(_SIZE_UNITS)}")
    return int(number * _SIZE_UNITS[unit])


def _quantity(value: object, expected: str, example: str) -> tuple[float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; write for instance {example}")  # noqa: TRY004 - pydantic's way
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not {expected}")
    return float(match[1]), match[2]


def beside_configuration(path: Path, info: ValidationInfo) -> Path:
    """A relative path starts at the folder of the configuration file, if there is one."""
    folder = (info.context or {}).get("folder")
    return path if folder is None else folder / path


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "examples": ["500ms", "10s", "5m", "7d"]}),
]
"""Seconds; written as `500ms`, `10s`, `5m`, `2h` or `7d`."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "examples": ["512kB", "10MB", "1GiB"]}),
]
"""Bytes; written as `512kB`, `10MB` or `1GiB`."""

Secret = SecretStr
"""Text that never shows: its `repr` is stars. `get_secret_value()` gives it."""

FilePath = Annotated[Path, AfterValidator(beside_configuration)]
"""A path; a relative one starts at the folder of the configuration file."""
