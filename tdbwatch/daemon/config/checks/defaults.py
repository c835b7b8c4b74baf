"""`defaults`: what sinks of a type have that do not say otherwise.

What is there is checked by itself, where it stands, and then put into each sink that leaves it open. It keeps
its place, so a later complaint about it points there as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import BaseModel

from tdbwatch.daemon.config.checks.keys import fields_at, known_keys
from tdbwatch.daemon.config.checks.validate import validate
from tdbwatch.daemon.config.models.sinks import SinkSettings, parted
from tdbwatch.daemon.config.problems import Path, suggestion
from tdbwatch.daemon.config.secrets.secret_keys import (
    SUFFIXES,
    SecretReader,
    nested_models,
    resolve_secrets,
    secret_fields,
)
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.plugin import SinkType

_FOR_ALL: Final = tuple(key for key in known_keys(SinkSettings) if key != "type")
_EXAMPLE: Final = "write for instance defaults: {webhook: {timeout: 10s}}"


@dataclass(frozen=True, slots=True)
class Defaults:
    """Checks `defaults`, and puts it below what sinks say themselves."""

    tree: Tree
    folder: FilePath
    reader: SecretReader
    types: Mapping[str, SinkType]

    def spread(self) -> None:
        """Check what there is, and give it to the sinks."""
        written = self.tree.data.get("defaults", {})
        if not isinstance(written, dict):
            self.tree.complain(
                ("defaults",), "must be a mapping of types of sinks to their options", _EXAMPLE
            )
            return
        for name, data in written.items():
            if (sink_type := self._type(name, data)) is not None:
                self._check(("defaults", name), data, sink_type)
                self._give(("defaults", name), sink_type)

    def _type(self, name: str, data: Any) -> SinkType | None:
        path: Path = ("defaults", name)
        if name not in self.types:
            hint = suggestion(name, self.types, "the types are")
            self.tree.complain(path, "no plugin offers this type of sink", hint, at_key=True)
        elif not isinstance(data, dict):
            self.tree.complain(path, "must be a mapping (key: value)", _EXAMPLE)
        else:
            return self.types[name]
        return None

    def _check(self, path: Path, data: dict[str, Any], sink_type: SinkType) -> None:
        if "type" in data:
            hint = f"remove it: all of this is for sinks of the type {path[-1]}"
            self.tree.complain((*path, "type"), "a default cannot be of another type", hint, at_key=True)
        resolve_secrets(self.tree, path, sink_type.options, self.reader)
        for_all, own = parted(data, sink_type)
        for part, model in ((for_all, SinkSettings), (own, sink_type.options)):
            found = {key: value for key, value in part.items() if key != "type"}
            validate(self.tree, path, found, model, self.folder, _FOR_ALL, is_whole=False)
        for unknown in self.tree.unknown:
            if unknown[: len(path)] == path:
                del self.tree.get(unknown[:-1])[unknown[-1]]

    def _give(self, path: Path, sink_type: SinkType) -> None:
        cutting = self.tree.cutting(path)
        sinks = self.tree.data.get("sinks")
        for name, sink in sinks.items() if isinstance(sinks, dict) else ():
            if isinstance(sink, dict) and sink.get("type") == path[-1]:
                models = (SinkSettings, sink_type.options)
                for part in self._left_open(("sinks", name), path, models):
                    self.tree.plant(cutting.cutting(part), ("sinks", name, *part))

    def _left_open(self, sink: Path, default: Path, models: tuple[type[BaseModel], ...]) -> Iterator[Path]:
        """What the sink leaves open of these defaults: paths below both."""
        said, offered = self.tree.get(sink), self.tree.get(default)
        secrets = {key for model in models for key in secret_fields(model)}
        for key, value in offered.items():
            if key == "type":
                continue
            variants = {key, *(key + suffix for suffix in SUFFIXES)} if key in secrets else {key}
            if not variants & said.keys():
                yield (key,)
                continue
            inner = tuple(
                nested
                for model in models
                for field in fields_at(model, (key,))
                for nested in nested_models(field.annotation)
            )
            if inner and isinstance(value, dict) and isinstance(said.get(key), dict):
                for part in self._left_open((*sink, key), (*default, key), inner):
                    yield (key, *part)
