"""Types for a sink's options, as users write them in YAML.

Declare options as a pydantic model, and the configuration checks them with file, line and column:

    class HookOptions(Options):
        url: str
        timeout: Duration = 15.0
        secret: Secret | None = None
"""

import re
from collections.abc import Mapping
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
_LONGEST: Final = 36_525 * 86_400.0
"""Seconds of a century: beyond that clocks and calendars end."""
_LARGEST: Final = 2.0**62
"""Bytes."""
_QUANTITY: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,15})?)\s*([A-Za-z]{1,9})")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SEVERAL: Final = re.compile(rf"(?:{_QUANTITY.pattern}\s*){{2,9}}")


class OptionError(ValueError):
    """Raised by validators of options: what is wrong, and what to do.

    It is shown as it is, also where the value is a secret or came from the environment, so nothing of the
    value may be in it. What another error says is not shown there.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class Options(BaseModel):
    """Base of a sink's options: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `500ms`, `10s`, `5m` or `7d`.

    Raises:
        OptionError: anything else; a bare number too, since its unit would be a guess.
    """
    number, unit = _quantity(value, "a duration", "write for instance 500ms, 10s, 5m or 7d")
    seconds = number * _of_unit(unit, _DURATION_UNITS)
    if seconds > _LONGEST:
        raise OptionError("longer than a century", "lower it; where `unlimited` may stand, write that")
    return seconds


def parse_size(value: object) -> int:
    """Bytes of a size such as `512kB`, `10MB` or `1GiB`.

    Raises:
        OptionError: anything else; a bare number too, since its unit would be a guess.
    """
    number, unit = _quantity(value, "a size", "write for instance 512kB, 10MB or 1GiB")
    size = number * _of_unit(unit, _SIZE_UNITS)
    if size > _LARGEST:
        raise OptionError("larger than any disk", "lower it")
    return int(size)


def _of_unit(unit: str, units: Mapping[str, float]) -> float:
    if unit not in units:
        raise OptionError("a number with an unknown unit", f"the units are {', '.join(units)}")
    return units[unit]


def _quantity(value: object, what: str, remedy: str) -> tuple[float, str]:
    text = value.strip() if isinstance(value, str) else ""
    if (isinstance(value, int | float) and not isinstance(value, bool)) or _NUMBER.fullmatch(text):
        raise OptionError("a number without a unit", remedy)
    if text.startswith("-") and _QUANTITY.fullmatch(text[1:].lstrip()):
        raise OptionError("less than nothing", remedy)
    if _SEVERAL.fullmatch(text):
        raise OptionError(f"{what} has one number and one unit", "write for instance 90s for 1m30s")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise OptionError(f"not {what}", remedy)
    return float(match[1]), match[2]


def refuse_home(path: object) -> None:
    """Refuse a path that begins with `~`: the service has another home than who wrote it, or none.

    Raises:
        OptionError: it does.
    """
    if str(path).startswith("~"):
        raise OptionError(
            "a ~ stands for nobody's home here", "write the whole path; ./~ for a file called so"
        )


def beside_configuration(path: Path, info: ValidationInfo) -> Path:
    """A relative path starts at the folder of the configuration file, if there is one."""
    refuse_home(path)
    if "\0" in str(path):
        raise OptionError("a path holds no NUL character", "write it without")
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
