"""A configuration file, read in two steps: plugins are named in it, and their sink types are needed to
understand the rest."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from tdbwatch.daemon.config.environment import substitute
from tdbwatch.daemon.config.fields import check_sink_name
from tdbwatch.daemon.config.models import (
    DEFAULT_SCOPE,
    DEFAULT_SPOOL,
    Config,
    PluginsConfig,
    Sections,
    SinkConfig,
    SinkSettings,
    SpoolConfig,
)
from tdbwatch.daemon.config.problems import ConfigError, Path, Problem, RefusedError, suggestion
from tdbwatch.daemon.config.secret_keys import SecretReader, read_bytes, resolve_secrets
from tdbwatch.daemon.config.tree import Tree
from tdbwatch.daemon.config.validate import known_keys, validate
from tdbwatch.daemon.config.yaml_text import parse_yaml
from tdbwatch.plugin import SinkType
from tdbwatch.wire.scopes import collection_of

MAX_FILE: Final = 512 * 1024
_REQUIRED: Final = {
    "thingsdb": "say where ThingsDB is: thingsdb: {nodes: [node01], auth: {token_file: PATH}}",
    "rooms": "say what to watch: rooms: [alerts]",
    "sinks": "say where events go: sinks: {console: {type: log}}",
}
"""Sections without a default, and how to begin one."""


def read(path: str | FilePath, environ: Mapping[str, str] = os.environ) -> "Document":
    """The configuration file at `path`, parsed, with the environment substituted.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    try:
        content = read_bytes(FilePath(path), MAX_FILE)
    except (RefusedError, ValueError) as error:  # ValueError: a path that no file can have
        message, hint = (
            (error.message, error.hint) if isinstance(error, RefusedError) else ("not a file's path", "")
        )
        raise ConfigError([Problem(str(path), 0, 0, "", message, hint)]) from None
    return parse(content, str(path), environ)


def parse(content: bytes, file: str, environ: Mapping[str, str] = os.environ) -> "Document":
    """The configuration with this content; `file` is its name, and relative paths start at its folder.

    Raises:
        ConfigError: it is not YAML.
    """
    tree = parse_yaml(_decode(content, file), file)
    if not isinstance(tree.data, dict):
        empty = tree.data is None
        message = "the file is empty" if empty else "the file must hold a mapping (key: value)"
        tree.complain((), message, "begin with thingsdb:, rooms: and sinks:; config/minimal.yaml shows how")
        raise ConfigError(tree.problems)
    substitute(tree, environ)
    _drop_empty_sections(tree)
    return Document(tree, FilePath(file).absolute().parent, environ)


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        hint = "save the file as UTF-8"
        raise ConfigError([Problem(file, line, column, "", "this is not UTF-8 text", hint)]) from None


def _drop_empty_sections(tree: Tree) -> None:
    """A section whose keys are all commented out counts as not written."""
    for key in [key for key, value in tree.data.items() if value is None]:
        del tree.data[key]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed configuration file. `str`, `repr` and errors show nothing of its values."""

    _tree: Tree
    folder: FilePath
    environ: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Document({self._tree.file!r})"

    def plugins(self) -> PluginsConfig:
        """The section `plugins`, needed before the rest can be understood.

        Raises:
            ConfigError: with the problems of this section only.
        """
        tree = self._tree.copy()
        tree.problems = [problem for problem in tree.problems if re.match(r"plugins\b", problem.path)]
        data = tree.data.get("plugins", {})
        found: PluginsConfig | None = None
        if isinstance(data, dict):
            found = validate(tree, ("plugins",), data, PluginsConfig, self.folder)
        else:
            tree.complain(
                ("plugins",), "must be a mapping (key: value)", "write plugins: {paths: [plugins.d]}"
            )
        if found is None or tree.problems:
            raise ConfigError(tree.problems)
        return found

    def config(self, sink_types: Mapping[str, SinkType]) -> Config:
        """The whole configuration, checked.

        Args:
            sink_types: the types of sinks that plugins offer, by name.

        Raises:
            ConfigError: with all problems that were found.
        """
        tree = self._tree.copy()
        reader = SecretReader(self.folder, self.environ)
        sections = _Sections(tree, self.folder, reader, self.environ).check()
        sinks = tuple(_Sinks(tree, self.folder, reader, sink_types).check())
        _check_targets(tree)
        if tree.problems or sections is None:
            raise ConfigError(tree.problems)
        return Config.combine(sections, sinks)


def load(
    path: str | FilePath, sink_types: Mapping[str, SinkType], environ: Mapping[str, str] = os.environ
) -> Config:
    """The checked configuration of the file at `path`: `read` and `Document.config` in one.

    Raises:
        ConfigError: with all problems that were found.
    """
    return read(path, environ).config(sink_types)


@dataclass(frozen=True, slots=True)
class _Sections:
    """Checks everything but the sinks."""

    tree: Tree
    folder: FilePath
    reader: SecretReader
    environ: Mapping[str, str]

    def check(self) -> Sections | None:
        data = self.tree.data
        for section, hint in _REQUIRED.items():
            if section not in data:
                self.tree.complain((section,), "is missing", hint, at_key=True)
        self._prepare_rooms()
        resolve_secrets(self.tree, (), Sections, self.reader)
        parts = {key: value for key, value in data.items() if key != "sinks"}
        sections = validate(self.tree, (), parts, Sections, self.folder, ("sinks",))
        self._check_names()
        return None if sections is None else self._with_spool(sections)

    def _prepare_rooms(self) -> None:
        """`- alerts` is short for `- {name: alerts}`; rooms without a scope have the default one."""
        rooms = self.tree.data.get("rooms")
        if not isinstance(rooms, list):
            return
        scope = self.tree.get(("thingsdb", "scope"))
        valid = isinstance(scope, str) and collection_of(scope) is not None
        for index, room in enumerate(rooms):
            path: Path = ("rooms", index)
            if isinstance(room, str):
                self._name_room(path, room)
            if isinstance(rooms[index], dict):
                rooms[index].setdefault("scope", scope if valid else DEFAULT_SCOPE)

    def _name_room(self, path: Path, name: str) -> None:
        target = (*path, "name")
        self.tree.put(path, {"name": name})
        self.tree.values[target] = self.tree.place(path)
        if path in self.tree.origins:
            self.tree.origins[target] = self.tree.origins.pop(path)

    def _check_names(self) -> None:
        """No two rooms of one collection may have one name, else their records could not be told apart."""
        rooms = self.tree.data.get("rooms")
        first: dict[tuple[str, str], int] = {}
        for index, room in enumerate(rooms if isinstance(rooms, list) else []):
            for key in _room_keys(room):
                if key in first and not self.tree.is_broken(("rooms", index)):
                    self._same_name(index, first[key])
                first.setdefault(key, index)

    def _same_name(self, index: int, other: int) -> None:
        line = self.tree.place(("rooms", other))[0]
        self.tree.complain(
            ("rooms", index),
            f"another room of this scope has the same name or id (line {line})",
            "remove one, or give each a name of its own with `as: NAME`",
        )

    def _with_spool(self, sections: Sections) -> Sections:
        """Under systemd the spool's default place is the unit's state directory."""
        state = self.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        if not state or sections.spool.path != DEFAULT_SPOOL or self.tree.get(("spool", "path")) is not None:
            return sections
        spool: SpoolConfig = sections.spool.model_copy(update={"path": FilePath(state) / DEFAULT_SPOOL.name})
        return sections.model_copy(update={"spool": spool})


def _room_keys(room: Any) -> Iterator[tuple[str, str]]:
    """What must be unique: a room's name in records, and what it joins."""
    if not isinstance(room, dict):
        return
    scope = collection_of(room["scope"]) if isinstance(room.get("scope"), str) else None
    for key in ("as", "name", "id"):
        value = room.get(key)
        if scope is not None and isinstance(value, str | int):
            yield scope, f"{key if key == 'id' else 'name'} {value}"
            if key == "as":
                return


@dataclass(frozen=True, slots=True)
class _Sinks:
    """Checks the sinks: the keys that all have, and the options of each one's type."""

    tree: Tree
    folder: FilePath
    reader: SecretReader
    types: Mapping[str, SinkType]

    def check(self) -> Iterator[SinkConfig]:
        if "sinks" not in self.tree.data:
            return
        sinks = self.tree.data["sinks"]
        if not isinstance(sinks, dict) or not sinks:
            self.tree.complain(("sinks",), "must be a mapping of names to sinks", _REQUIRED["sinks"])
            return
        for name, data in sinks.items():
            found = self._sink(name, data)
            if found is not None:
                yield found

    def _sink(self, name: str, data: Any) -> SinkConfig | None:
        path: Path = ("sinks", name)
        try:
            check_sink_name(name)
        except RefusedError as complaint:
            self.tree.complain(path, complaint.message, complaint.hint, at_key=True)
        if not isinstance(data, dict):
            self.tree.complain(path, "must be a mapping (key: value)", "write for instance {type: log}")
            return None
        common = {key: value for key, value in data.items() if key in SinkSettings.model_fields}
        settings = validate(self.tree, path, common, SinkSettings, self.folder)
        sink_type = self._type(path, data)
        if sink_type is None:
            return None
        resolve_secrets(self.tree, path, sink_type.options, self.reader)
        own = {key: value for key, value in data.items() if _is_option(key, sink_type)}
        options = validate(
            self.tree, path, own, sink_type.options, self.folder, tuple(known_keys(SinkSettings))
        )
        return None if settings is None or options is None else SinkConfig(name, settings, options)

    def _type(self, path: Path, data: dict[str, Any]) -> SinkType | None:
        wanted = data.get("type")
        where = (*path, "type")
        if not isinstance(wanted, str) or self.tree.is_broken(where):
            return None
        if wanted not in self.types:
            hint = suggestion(wanted, self.types, "the types are")
            if self.tree.is_tainted(where):
                hint = f"the types are: {', '.join(sorted(self.types))}"
            self.tree.complain(where, "no plugin offers this type of sink", hint)
        return self.types.get(wanted)


def _is_option(key: str, sink_type: SinkType) -> bool:
    """Whether a key is for the type's options; one that all sinks have is for both if the type asks."""
    return key not in SinkSettings.model_fields or key in sink_type.options.model_fields


def _check_targets(tree: Tree) -> None:
    """Routes may only name sinks that are there."""
    sinks = tree.data.get("sinks")
    routes = tree.data.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        targets = route.get("to") if isinstance(route, dict) else None
        path: Path = ("routes", index, "to")
        if isinstance(targets, str):
            _check_target(tree, path, targets, sinks)
        for position, target in enumerate(targets if isinstance(targets, list) else []):
            _check_target(tree, (*path, position), target, sinks)


def _check_target(tree: Tree, path: Path, target: Any, sinks: Any) -> None:
    if isinstance(target, str) and isinstance(sinks, dict) and target not in sinks:
        hint = "" if tree.is_tainted(path) else suggestion(target, sinks, "the sinks are")
        tree.complain(path, "there is no sink of this name", hint)
