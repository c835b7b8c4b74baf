"""A parsed configuration: plain data, and where each value stands in the file."""

import copy
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, Final

from tdbwatch.daemon.config.problems import Path, Place, Problem, show_path

SECRET: Final = "this secret"  # noqa: S105 - a name for it
"""What messages call a secret, wherever it stands."""
_LONGEST: Final = 240
"""Characters of a message; some repeat what the file holds."""


@dataclass(slots=True)
class Tree:
    """Data made of dict, list, str, int, float, bool and None, with what is known about each path.

    Attributes:
        file: the name of the main file, as the user wrote it.
        included: the other files, in the order in which they were read.
        data: the root of the data.
        values: where each value begins.
        keys: where the key of each value of a mapping begins.
        plain: strings that stand in the file without quotes.
        blocks: strings that stand in the file as blocks, after | or >.
        origins: values that no message may show, since they came from elsewhere or are secrets, and what
            to call them instead.
        written: of texts into which the environment came, what stands in the file beside the references.
        files: the files that secrets were read from, by the secret's own path.
        broken: values that have been complained about, or cannot be judged; no further complaint about them
            helps.
        unknown: keys that there are not.
        problems: what was found so far.
        notes: what cannot be judged here, and is no problem.
        warnings: what is allowed, and hardly meant so.
    """

    file: str
    included: list[str] = field(default_factory=list)
    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    plain: set[Path] = field(default_factory=set)
    blocks: set[Path] = field(default_factory=set)
    origins: dict[Path, str] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    files: dict[Path, FilePath] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)
    unknown: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def copy(self) -> "Tree":
        """A tree that can be changed without changing this one."""
        return copy.deepcopy(self)

    def complain(
        self,
        path: Path,
        message: str,
        hint: str = "",
        *,
        at_key: bool = False,
        inside: tuple[int, int] | None = None,
    ) -> None:
        """Note a problem, at the place of the value, or of its key. Once for each path.

        Args:
            inside: line and column within a value that is text of several parts.
        """
        if path not in self.broken:
            self.broken.add(path)
            problem = self._said(path, message, hint, at_key)
            if inside is not None:
                line, column = self._within(path, inside)
                problem = replace(problem, line=line, column=column)
            self.problems.append(problem)

    def _within(self, path: Path, inside: tuple[int, int]) -> tuple[int, int]:
        """Line and column in the file of those in a value; of folded and escaped text nearly that."""
        _, line, column = self.place(path)
        if path in self.blocks:
            return line + inside[0], inside[1]
        if inside[0] > 1:
            return line + inside[0] - 1, inside[1]
        return line, column + inside[1] - (1 if path in self.plain else 0)

    def leave(self, path: Path, why: str) -> None:
        """Note that the value cannot be judged here; whatever is found wrong with it is not told."""
        self.broken.add(path)
        self.notes.append(self._said(path, why))

    def warn(self, path: Path, message: str, hint: str = "") -> None:
        """Note what is allowed, and hardly meant so."""
        if not self.is_broken(path):
            self.warnings.append(replace(self._said(path, message, hint), is_warning=True))

    def mention(self, path: Path, at: Path) -> str:
        """How a message about what is at `at` says where something else is."""
        return self.place(path).seen_from(self.place(at))

    def _said(self, path: Path, message: str, hint: str = "", at_key: bool = False) -> Problem:
        place = self.place(path, at_key=at_key)
        if len(message) > _LONGEST:  # cut the middle, where repeated text usually is
            message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"
        message = "".join(char if char.isprintable() else " " for char in message)
        return Problem(*place, show_path(path), message, hint)

    def keep_problems_of(self, sections: Collection[str]) -> None:
        """Forget the problems of all other sections."""
        self.problems = [
            problem for problem in self.problems if re.split(r"[.\[]", problem.path)[0] in sections
        ]

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Where to point for `path`; for what is not in the file, the nearest thing around it."""
        first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
        found = first.get(path) or second.get(path)
        if found is not None:
            return found
        return self.place(path[:-1], at_key=True) if path else Place(self.file, 1, 1)

    def get(self, path: Path) -> Any:
        """The value at `path`; None where there is none."""
        value = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def put(self, path: Path, value: Any) -> None:
        """Replace the value at `path`, or add it to the mapping around it."""
        if path:
            self.get(path[:-1])[path[-1]] = value
        else:
            self.data = value

    def cutting(self, path: Path) -> "Tree":
        """What is at and below this path, with all that is known about it: a tree of its own."""
        depth = len(path)
        made = Tree(self.file, data=self.get(path))
        for known, cut in zip(_by_path(self), _by_path(made), strict=True):
            cut.update({at[depth:]: what for at, what in known.items() if at[:depth] == path})
        for marked, kept in zip(_marks(self), _marks(made), strict=True):
            kept |= {at[depth:] for at in marked if at[:depth] == path}
        return made

    def plant(self, cutting: "Tree", path: Path) -> None:
        """Put a cutting at this path, with all that is known about it."""
        self.put(path, copy.deepcopy(cutting.data))
        for known, cut in zip(_by_path(self), _by_path(cutting), strict=True):
            known.update({(*path, *at): what for at, what in cut.items()})
        for marked, kept in zip(_marks(self), _marks(cutting), strict=True):
            marked |= {(*path, *at) for at in kept}

    def is_tainted(self, path: Path) -> bool:
        """Whether the value at `path`, a part of it, or what it is a part of, came from elsewhere."""
        return any(True for _ in self.related_origins(path))

    def is_written(self, path: Path, word: str) -> bool:
        """Whether a word stands in the texts at `path`, and not in what the environment put there."""
        value = self.get(path)
        if isinstance(value, dict | list):
            keys = value if isinstance(value, dict) else range(len(value))
            return any(self.is_written((*path, key), word) for key in keys)
        text = self.written.get(path, value)
        return isinstance(text, str) and re.search(rf"\b{re.escape(word)}\b", text) is not None

    def is_from_environment(self, path: Path) -> bool:
        """Whether any of it stands not in the file, but in the environment."""
        return any(self.origins[other] != SECRET for other in self.related_origins(path))

    def related_origins(self, path: Path) -> Iterator[Path]:
        """The values from elsewhere that `path` is, holds, or is a part of."""
        return (other for other in self.origins if _related(path, other) and self.get(other) is not None)

    def is_broken(self, path: Path) -> bool:
        """Whether the value at `path`, or what it is a part of, has been complained about."""
        return any(path[:length] in self.broken for length in range(len(path) + 1))


def _related(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _by_path(tree: Tree) -> tuple[dict[Path, Any], ...]:
    """What a tree knows of values."""
    return tree.values, tree.keys, tree.origins, tree.written, tree.files


def _marks(tree: Tree) -> tuple[set[Path], ...]:
    """The values of a tree that are special in some way."""
    return tree.plain, tree.blocks, tree.broken
