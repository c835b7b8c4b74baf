"""What is wrong with a configuration: where it is, what it is, and what to do about it.

Nothing here ever shows a value that came from the environment or from a secret's file.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from tdbwatch.plugin import OptionError

Path = tuple[str | int, ...]
"""Where a value is in the configuration: keys of mappings and positions in lists."""


class Place(NamedTuple):
    """Where something stands. Line and column count from 1."""

    file: str
    line: int
    column: int

    def seen_from(self, other: "Place") -> str:
        """How a message that stands at another place says this one: short where it is the same file."""
        return f"line {self.line}" if self.file == other.file else f"{self.file}:{self.line}:{self.column}"


_SHOWN: Final = 60
_PLAIN_KEY: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST_KEY: Final = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One complaint. `line` and `column` count from 1; they are 0 where the file as a whole is meant.

    Attributes:
        path: the key's path, such as `rooms[2].scope`.
        message: what is wrong.
        hint: what to do.
        is_warning: it is allowed, and hardly meant so.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    is_warning: bool = False

    @property
    def place(self) -> str:
        """`file:line:column`, or the file."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        subject = f"{self.path}: " if self.path else ""
        remedy = "".join(f"\n    {line}" for line in self.hint.splitlines())
        kind = "warning: " if self.is_warning else ""
        return f"{self.place}: {subject}{kind}{self.message}{remedy}"


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each once, file by file, in the order of the file."""
    return tuple(
        sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line, problem.column))
    )


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds all that was found; `str()` shows them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = ordered(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        blocks = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            blocks.append(f"... and {len(self.problems) - _SHOWN} more")
        return "\n".join(blocks)


class RefusedError(OptionError):
    """A part of the configuration is refused: the message holds nothing secret."""


def show_path(path: Path) -> str:
    """The path as users read it, such as `rooms[2].scope`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{show_key(part)}" if text else show_key(part)
    return text


def show_key(key: object) -> str:
    """A key or a name, quoted where it is not a plain word, cut where it is long."""
    text = str(key)
    if len(text) > _LONGEST_KEY:
        text = text[:_LONGEST_KEY] + "..."
    return text if text and _PLAIN_KEY.issuperset(text) else ascii(text)


def suggestion(word: str, known: Iterable[str], what: str) -> str:
    """A remedy for a word that is not known: the nearest one, and the list of all."""
    names = sorted(set(known))
    if not names:
        return ""
    listed = f"{what}: {', '.join(show_key(name) for name in names)}"
    same = [name for name in names if name.lower() == word.lower()]  # INFO, or a key that begins a sentence
    near = same or difflib.get_close_matches(word[:_LONGEST_KEY], names, n=1, cutoff=0.6)
    return f"did you mean {show_key(near[0])}? {listed}" if near else listed
