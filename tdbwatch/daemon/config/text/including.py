"""`include`: one configuration out of several files.

The main file comes first, then those that it includes, in order; each of them is followed by those that it
includes itself. A pattern stands for what is there, in order of name. A file is read once, where it is first
reached.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path as FilePath
from typing import Any, Final

from tdbwatch.daemon.config.problems import ConfigError, Path, Problem, RefusedError, show_path
from tdbwatch.daemon.config.secrets.secret_keys import read_bytes
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.config.text.yaml_text import parse_yaml
from tdbwatch.plugin import OptionError
from tdbwatch.plugin.options import refuse_home

MAX_FILE: Final = 512 * 1024
_MOST_FILES: Final = 500
_WILD: Final = frozenset("*?[")
_EXAMPLE: Final = "write for instance include: [conf.d/*.yaml]"

_Identity = tuple[int, int]


def parse_files(content: bytes, file: str) -> Tree:
    """The tree of the main file, which has this content, and of all that it includes.

    Raises:
        ConfigError: one of them cannot be read or is not YAML, or the main file holds no mapping.
    """
    tree = parse_yaml(_decode(content, file), file)
    if not isinstance(tree.data, dict):
        empty = tree.data is None
        message = "the file is empty" if empty else "the file must hold a mapping (key: value)"
        tree.complain((), message, "begin with thingsdb:, rooms: and sinks:; config/minimal.yaml shows how")
        raise ConfigError(tree.problems)
    reading = _Reading(tree)
    reading.follow(file, 0, ())
    if reading.failures:
        raise ConfigError([*tree.problems, *reading.failures])
    tree.data.pop("include", None)
    return tree


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        hint = "save the file as UTF-8"
        raise ConfigError([Problem(file, line, column, "", "this is not UTF-8 text", hint)]) from None


@dataclass(slots=True)
class _Reading:
    """Follows `include` from file to file. What fails is told at the item that names the file."""

    tree: Tree
    failures: list[Problem] = field(default_factory=list)
    read: set[_Identity] = field(default_factory=set)

    def follow(self, file: str, start: int, above: tuple[str, ...]) -> None:
        """Read what `file` includes: the items of `include` from `start` on are its own."""
        self.read |= set(_identity(FilePath(file)))
        written = self.tree.data.get("include")
        if written is not None and not isinstance(written, list):
            self._fail(("include",), "must be a list of files and patterns", _EXAMPLE)
            return
        for index in range(start, len(written or ())):
            path: Path = ("include", index)
            try:
                for found in self._files(path, self.tree.data["include"][index], file):
                    self._add(found, (*above, file))
            except OptionError as error:
                self._fail(path, error.message, error.remedy)

    def _files(self, path: Path, wanted: Any, file: str) -> Iterator[FilePath]:
        """The files that an item names and that were not read yet."""
        target = FilePath(file).parent / _checked(wanted)
        if not _WILD & set(target.name):
            yield target
            return
        if not target.parent.exists():
            self.tree.warn(path, "there is no such folder", "check the path, or make the folder")
            return
        try:
            names = sorted(entry.name for entry in os.scandir(target.parent))
        except OSError as error:
            hint = "give the user that runs tdbwatch the right to list it"
            raise RefusedError(f"{target.parent} cannot be listed: {error.strerror}", hint) from None
        for name in names:
            found = target.parent / name
            if fnmatchcase(name, target.name) and name[0] != "." and not self.read & set(_identity(found)):
                yield found

    def _add(self, file: FilePath, above: tuple[str, ...]) -> None:
        """Read a file, and what it includes.

        Raises:
            RefusedError: it cannot be read, or one that it is included by is the same file.
        """
        identity = set(_identity(file))
        if any(identity & set(_identity(FilePath(one))) for one in above):
            chain = " includes ".join((*above, str(file)))
            raise RefusedError(f"a file cannot include itself: {chain}", "remove one of these includes")
        if identity & self.read:
            return
        if len(self.tree.included) >= _MOST_FILES:
            raise RefusedError(f"more than {_MOST_FILES} files", "put several sections into one file")
        missing = "check the path; a relative one starts at the folder of the file that includes it"
        try:
            content = read_bytes(file, MAX_FILE, missing=missing)
        except RefusedError as error:
            folder = os.path.relpath(file, FilePath(above[-1]).parent)
            remedy = f"write {folder}/*.yaml for the files in it" if file.is_dir() else error.remedy
            raise RefusedError(f"{file} {error.message}", remedy) from None
        self.tree.included.append(str(file))
        start = len(self.tree.data.get("include", ()))
        try:
            parse_yaml(_decode(content, str(file)), str(file), self.tree)
        except ConfigError as error:
            self.failures += error.problems
            self.read |= identity
        else:
            self.follow(str(file), start, above)

    def _fail(self, path: Path, message: str, hint: str) -> None:
        self.failures.append(Problem(*self.tree.place(path), show_path(path), message, hint))


def _checked(wanted: Any) -> str:
    """The item of a list `include`, if it is fine as a text.

    Raises:
        OptionError: it is not.
    """
    if not isinstance(wanted, str) or not wanted or "\0" in wanted:
        raise RefusedError("must be a file or a pattern, as text", _EXAMPLE)
    refuse_home(wanted)
    if "${" in wanted:
        hint = "write the name out; which files are read must not depend on who reads them"
        raise RefusedError("no variable is known here", hint)
    if _WILD & set(str(FilePath(wanted).parent)):
        raise RefusedError("only a file's name may have wildcards, no folder's", "list each folder by itself")
    return wanted


def _identity(file: FilePath) -> Iterator[_Identity]:
    """What is the same for a file under all its names; nothing if there is none."""
    try:
        info = file.stat()
    except (OSError, ValueError):
        return
    yield info.st_dev, info.st_ino
