"""Whether a message that others wrote gives away a value that nobody may see.

One that says the same of a value with other letters and digits says nothing about them.
"""

import copy
import string
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tdbwatch.daemon.config.problems import Path

_OTHER: Final = str.maketrans(
    string.ascii_letters + string.digits,
    string.ascii_lowercase[13:]
    + string.ascii_lowercase[:13]
    + string.ascii_uppercase[13:]
    + string.ascii_uppercase[:13]
    + string.digits[5:]
    + string.digits[:5],
)


def reveals(message: str, data: Any, hidden: Iterable[Path], say_of: Callable[[Any], str | None]) -> bool:
    """Whether `message` may repeat a part of what stands at the paths `hidden` of `data`.

    Args:
        say_of: what is said of other data in this message's place; None: nothing.
    """
    values = [(where, value) for where in hidden for value in [_get(data, where)] if value is not None]
    said = message.lower()
    found = {
        part
        for _, value in values
        for leaf in _leaves(value)
        for part in _parts(str(leaf).lower())
        if part in said
    }
    if not found:
        return False
    if not all(any(map(str.isalnum, part)) for part in found):
        return True
    if not all(isinstance(leaf, str) for _, value in values for leaf in _leaves(value)):
        return True
    other = copy.deepcopy(data)
    for where, value in values:
        _put(other, where, disguised(value))
    return say_of(other) != message


def disguised(value: Any) -> Any:
    """The value with every letter and digit of its texts replaced by another one."""
    if isinstance(value, dict):
        return {key: disguised(item) for key, item in value.items()}
    if isinstance(value, list):
        return [disguised(item) for item in value]
    if not isinstance(value, str):
        return value
    return "".join("x" if char.isalnum() and not char.isascii() else char for char in value).translate(_OTHER)


def _leaves(value: Any) -> Iterator[Any]:
    """Every text or number within a value."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _parts(value: str) -> Iterator[str]:
    """Every piece of four characters of a text; all of a shorter one."""
    return (value[start : start + 4] for start in range(max(1, len(value) - 3)) if value)


def _get(data: Any, where: Path) -> Any:
    for part in where:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _put(data: Any, where: Path, value: Any) -> None:
    for part in where[:-1]:
        data = data[part]
    data[where[-1]] = value
