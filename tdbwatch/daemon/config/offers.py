"""What plugins offer to a configuration, and what it says of their own options."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from tdbwatch.daemon.config.checks.validate import validate
from tdbwatch.daemon.config.problems import Path, suggestion
from tdbwatch.daemon.config.secrets.secret_keys import SecretReader, resolve_secrets
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.plugin import Options, SinkType

_EXAMPLE = "write for instance plugins: {options: {geo: {database: /var/lib/geo.db}}}"


class Offers(dict[str, SinkType]):
    """The types of sinks, by name, and all else that a configuration may name.

    Attributes:
        plugin_options: by plugin, the model of its own options (`tdbwatch_config`).
    """

    def __init__(self, sink_types: Mapping[str, SinkType] | None = None) -> None:
        super().__init__(sink_types or {})
        self.plugin_options: dict[str, type[Options]] = {}

    @classmethod
    def of(cls, sink_types: Mapping[str, SinkType]) -> "Offers":
        """These, where there may be nothing else."""
        return sink_types if isinstance(sink_types, cls) else cls(sink_types)


@dataclass(frozen=True, slots=True)
class PluginOptionsCheck:
    """Checks `plugins.options`: by plugin, what its model says."""

    tree: Tree
    folder: FilePath
    reader: SecretReader
    offers: Offers

    def check(self) -> Iterator[tuple[str, Options]]:
        """The options of each plugin that has some, as far as they are right."""
        models, base = self.offers.plugin_options, ("plugins", "options")
        written = self.tree.get(base) or {}
        if not isinstance(written, dict):
            return  # which the section's own check says
        for name in written:
            if name not in models:
                self._refuse((*base, name), name)
        for name, model in models.items():
            path: Path = (*base, name)
            data = written.get(name) or {}
            if not isinstance(data, dict):
                self.tree.complain(path, "must be a mapping (key: value)", _EXAMPLE)
                continue
            resolve_secrets(self.tree, path, model, self.reader)
            found = validate(self.tree, path, self._at(path), model, self.folder)
            if found is not None:
                yield name, found

    def _at(self, path: Path) -> dict[str, Any]:
        found = self.tree.get(path)
        return found if isinstance(found, dict) else {}

    def _refuse(self, path: Path, name: str) -> None:
        names = self.offers.plugin_options
        hint = suggestion(name, names, "the plugins with options are") or "remove it: no plugin has options"
        message = "no plugin of this name has options"
        if name in self.offers:
            hint = f"the options of sinks stand with the sink: sinks: {{{name}: {{...}}}}"
        self.tree.complain(path, message, hint, at_key=True)
