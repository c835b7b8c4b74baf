"""Checks of everything but the sinks, and of what one section says of another."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from tdbwatch.daemon.config.checks.validate import validate
from tdbwatch.daemon.config.checks.wording import kind_of
from tdbwatch.daemon.config.models.config import BESIDE_SECTIONS, DEFAULT_SPOOL, Sections, SpoolConfig
from tdbwatch.daemon.config.models.thingsdb import DEFAULT_SCOPE
from tdbwatch.daemon.config.problems import Path, suggestion
from tdbwatch.daemon.config.secrets.secret_keys import SecretReader, resolve_secrets
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.place import spool_file
from tdbwatch.wire.scopes import collection_of

REQUIRED: Final = {
    "thingsdb": "say where ThingsDB is: thingsdb: {nodes: [node01], auth: {token_file: PATH}}",
    "rooms": "say what to watch: rooms: [alerts]",
    "sinks": "say where events go: sinks: {console: {type: log}}",
}
"""Sections without a default, and how to begin one."""


@dataclass(frozen=True, slots=True)
class SectionsCheck:
    """Checks everything but the sinks."""

    tree: Tree
    folder: FilePath
    reader: SecretReader
    environ: Mapping[str, str]

    def check(self) -> Sections | None:
        data = self.tree.data
        for section, hint in REQUIRED.items():
            if section not in data:
                self.tree.complain((section,), "is missing", hint, at_key=True)
        self._prepare_rooms()
        resolve_secrets(self.tree, (), Sections, self.reader)
        parts = {key: value for key, value in data.items() if key not in BESIDE_SECTIONS}
        sections = validate(self.tree, (), parts, Sections, self.folder, BESIDE_SECTIONS)
        self._check_names()
        if sections is None:
            return None
        return sections.model_copy(update={"spool": placed_spool(self.tree, self.environ, sections.spool)})

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
            elif not isinstance(room, dict):
                self._no_room(path, room)
            if isinstance(rooms[index], dict):
                rooms[index].setdefault("scope", scope if valid else DEFAULT_SCOPE)

    def _no_room(self, path: Path, room: Any) -> None:
        is_id = isinstance(room, int) and not isinstance(room, bool) and room >= 0
        hint = (
            f"write {{id: {room}}} for the room with this id"
            if is_id
            else "write for instance alerts, or {id: 5}"
        )
        self.tree.complain(path, f"must be a room's name or a mapping, not {kind_of(room)}", hint)

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
        place = self.tree.mention(("rooms", other), ("rooms", index))
        self.tree.complain(
            ("rooms", index),
            f"another room of this scope has the same name or id ({place})",
            "remove one, or give each a name of its own with `as: NAME`",
        )


def placed_spool(tree: Tree, environ: Mapping[str, str], spool: SpoolConfig) -> SpoolConfig:
    """With the one name that the file has, whatever links lead to it.

    Under systemd the spool's default place is the unit's state directory.
    """
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    path = spool.path
    if state and path == DEFAULT_SPOOL and tree.get(("spool", "path")) is None:
        path = FilePath(state) / DEFAULT_SPOOL.name
    try:
        return spool.model_copy(update={"path": spool_file(path)})
    except SpoolError as error:
        tree.complain(("spool", "path"), str(error))
        return spool


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


def check_targets(tree: Tree) -> None:
    """Routes and absences may only name sinks that are there."""
    sinks = tree.data.get("sinks")
    for path, target in _targets(tree):
        if isinstance(sinks, dict) and target not in sinks:
            known = "" if tree.is_tainted(path) else target
            hint = suggestion(known, sinks, "the sinks are") or "add a sink of this name"
            tree.complain(path, "there is no sink of this name", hint)


def targets_elsewhere(tree: Tree, sinks: Container[str]) -> Iterator[str]:
    """The sinks that routes and absences name and that are not among these."""
    return (target for _, target in _targets(tree) if target not in sinks)


def _targets(tree: Tree) -> Iterator[tuple[Path, str]]:
    """What routes and absences name as sinks, and where."""
    for section in ("routes", "absences"):
        yield from _named(tree.data.get(section), (section,))


def _named(routes: Any, above: Path) -> Iterator[tuple[Path, str]]:
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        if not isinstance(route, dict):
            continue
        named, path = route.get("to"), (*above, index)
        if isinstance(named, str):
            yield (*path, "to"), named
        for position, target in enumerate(named if isinstance(named, list) else []):
            if isinstance(target, str):
                yield (*path, "to", position), target
        yield from _named(route.get("routes"), (*path, "routes"))
