"""A configuration, in one file or several, read in two steps: plugins are named in it, and their sink types
are needed to understand the rest."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from tdbwatch.daemon.config.checks.defaults import Defaults
from tdbwatch.daemon.config.checks.places import check_files, check_spool_place
from tdbwatch.daemon.config.checks.sections import SectionsCheck, check_targets, targets_elsewhere
from tdbwatch.daemon.config.checks.sinks import SinksCheck, add_automatic
from tdbwatch.daemon.config.checks.tls import check_node_tls
from tdbwatch.daemon.config.checks.validate import validate
from tdbwatch.daemon.config.doubts import doubt
from tdbwatch.daemon.config.doubts.text import doubt_text
from tdbwatch.daemon.config.models.config import Config, HttpConfig, PluginsConfig, Sections
from tdbwatch.daemon.config.models.expectations import check_expectations
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.offers import Offers, PluginOptionsCheck
from tdbwatch.daemon.config.outline import Outline, outline_of
from tdbwatch.daemon.config.problems import ConfigError, Problem, RefusedError, ordered
from tdbwatch.daemon.config.secrets.fingerprint import fingerprint
from tdbwatch.daemon.config.secrets.rotating import rotating
from tdbwatch.daemon.config.secrets.secret_keys import SecretReader, read_bytes, resolve_secrets
from tdbwatch.daemon.config.secrets.shown import shown
from tdbwatch.daemon.config.text.environment import substitute
from tdbwatch.daemon.config.text.files import check_own_files, check_secret_files
from tdbwatch.daemon.config.text.including import MAX_FILE, parse_files
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.expressions import functions
from tdbwatch.plugin import Options, SinkType


def read(path: str | FilePath, environ: Mapping[str, str] = os.environ) -> "Document":
    """The configuration file at `path` with those that it includes, parsed, with the environment substituted.

    Raises:
        ConfigError: one of them cannot be read, or is not YAML.
    """
    try:
        content = read_bytes(FilePath(path), MAX_FILE, missing="check the path")
    except (RefusedError, ValueError) as error:  # ValueError: a path that no file can have
        message, hint = (
            (error.message, error.remedy) if isinstance(error, RefusedError) else ("not a file's path", "")
        )
        raise ConfigError([Problem(str(path), 0, 0, "", message, hint)]) from None
    return parse(content, str(path), environ)


def parse(content: bytes, file: str, environ: Mapping[str, str] = os.environ) -> "Document":
    """The configuration with this content; `file` is its name, and relative paths start at its folder.

    Raises:
        ConfigError: it is not YAML, or a file that it includes cannot be read or is not.
    """
    tree = parse_files(content, file)
    written = {key: value for key, value in tree.data.items() if value is not None}
    digest = fingerprint(written)  # before the environment comes in, which may have secrets
    substitute(tree, environ)
    doubt_text(tree)
    _drop_empty_sections(tree)
    return Document(tree, FilePath(file).absolute().parent, environ, digest)


def _drop_empty_sections(tree: Tree) -> None:
    """A section whose keys are all commented out counts as not written."""
    for key in [key for key, value in tree.data.items() if value is None]:
        del tree.data[key]


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration with nothing wrong in it, as far as can be told outside of the service.

    Attributes:
        sections: all but the sinks.
        sinks: their names.
        notes: what only the service can judge, in the order of the file.
        warnings: what is allowed, and hardly meant so, in the order of the file.
    """

    sections: Sections
    sinks: tuple[str, ...]
    notes: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    plugin_options: Mapping[str, Options]
    """By plugin, its own options."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed configuration. `str`, `repr` and errors show nothing of its values."""

    _tree: Tree
    folder: FilePath
    environ: Mapping[str, str]
    digest: str = ""

    def __repr__(self) -> str:
        return f"Document({self._tree.file!r})"

    def http(self) -> HttpConfig | None:
        """The section `http`, if there is one, for who asks a running daemon from a shell.

        Raises:
            ConfigError: with the problems of this section only.
        """
        tree = self._tree.copy()
        tree.keep_problems_of(("http",))
        data = tree.data.get("http")
        if data is None:
            return None
        found: HttpConfig | None = None
        if isinstance(data, dict):
            reader = SecretReader(self.folder, self.environ, from_shell=True)
            resolve_secrets(tree, ("http",), HttpConfig, reader)
            if tree.notes:  # only the service knows the token
                data.pop("token", None)
            found = validate(tree, ("http",), data, HttpConfig, self.folder)
        else:
            tree.complain(
                ("http",), "must be a mapping (key: value)", "write http: {listen: '127.0.0.1:9280'}"
            )
        if found is None or tree.problems:
            raise ConfigError(tree.problems)
        return found

    def plugins(self) -> PluginsConfig:
        """The section `plugins`, needed before the rest can be understood.

        Raises:
            ConfigError: with the problems of this section only.
        """
        tree = self._tree.copy()
        tree.keep_problems_of(("plugins",))
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

    @property
    def files(self) -> tuple[FilePath, ...]:
        """The files that it was read from: the main one, then those that are included, in order."""
        return tuple(map(FilePath, (self._tree.file, *self._tree.included)))

    def place(self, *path: str | int) -> str:
        """`file:line:column` of what is at this path, or of the nearest thing around it."""
        file, line, column = self._tree.place(path)
        return f"{file}:{line}:{column}"

    def outline(self) -> Outline:
        """Where the spool is, and the sinks and routes: all that can be known without plugins and secrets.

        Raises:
            ConfigError: with the problems of these sections only.
        """
        return outline_of(self._tree.copy(), self.folder, self.environ)

    def sections(self) -> Sections:
        """All but the sinks, for what needs neither them nor plugins.

        Raises:
            ConfigError: with the problems of these sections.
        """
        tree = self._tree.copy()
        reader = SecretReader(self.folder, self.environ)
        with functions.unknown():
            sections = SectionsCheck(tree, self.folder, reader, self.environ).check()
        if sections is not None:
            check_node_tls(tree, sections.thingsdb.tls)
        tree.keep_problems_of(Sections.model_fields.keys())
        if tree.problems or sections is None:
            raise ConfigError(tree.problems)
        return sections

    def wanted_types(self) -> frozenset[str]:
        """The types of sinks that the file asks for, whether anybody offers them or not."""
        named = [sink.get("type") for sink in self._sinks().values() if isinstance(sink, dict)]
        defaults = self._tree.data.get("defaults")
        return frozenset([name for name in named if isinstance(name, str)]).union(
            defaults if isinstance(defaults, dict) else ()
        )

    def wanted_hooks(self) -> frozenset[str]:
        """The sinks that can only be plugins by their hooks: those without a type, or in routes only."""
        sinks = self._sinks()
        untyped = [name for name, sink in sinks.items() if isinstance(sink, dict) and "type" not in sink]
        return frozenset([*untyped, *targets_elsewhere(self._tree, sinks)])

    def _sinks(self) -> dict[str, Any]:
        sinks = self._tree.data.get("sinks")
        return sinks if isinstance(sinks, dict) else {}

    def config(self, sink_types: Mapping[str, SinkType]) -> Config:
        """The whole configuration, checked.

        Args:
            sink_types: the types of sinks that plugins offer, by name.

        Raises:
            ConfigError: with all problems that were found.
        """
        return self._config(sink_types)

    def _config(self, sink_types: Mapping[str, SinkType], *, for_secrets: bool = False) -> Config:
        """As `config`. For secrets that were rotated nodes' certificates, rotated as well, do not matter."""
        tree = self._tree.copy()
        reader, offers = SecretReader(self.folder, self.environ), Offers.of(sink_types)
        sections, sinks, options = self._parts(tree, reader, offers)
        if sections is not None and not for_secrets:
            check_node_tls(tree, sections.thingsdb.tls)
        if tree.problems or sections is None:
            raise ConfigError(tree.problems)
        again = partial(self._config, sink_types, for_secrets=True)
        renewed = rotating(tree.files, sinks, sections.http, options, again)
        warnings = ordered(tree.warnings)
        said = {"digest": self.digest, "shown": shown(tree)}
        return Config.combine(sections, sinks, warnings, tree.files, renewed, options, **said)

    def check(self, sink_types: Mapping[str, SinkType]) -> "Checked":
        """As `config`, from a shell: what only the service can judge is noted, and no problem.

        Raises:
            ConfigError: with all problems that were found.
        """
        tree = self._tree.copy()
        reader = SecretReader(self.folder, self.environ, from_shell=True)
        sections, _, options = self._parts(tree, reader, Offers.of(sink_types))
        if sections is not None:
            check_node_tls(tree, sections.thingsdb.tls, from_shell=True)
        if tree.problems or sections is None:
            raise ConfigError(tree.problems)
        names = tuple(tree.data["sinks"])
        return Checked(sections, names, ordered(tree.notes), ordered(tree.warnings), options)

    def _parts(
        self, tree: Tree, reader: SecretReader, sink_types: Offers
    ) -> tuple[Sections | None, tuple[SinkConfig, ...], dict[str, Options]]:
        """What is fine, with complaints about the rest in the tree."""
        add_automatic(tree, sink_types)
        sections = SectionsCheck(tree, self.folder, reader, self.environ).check()
        options = dict(PluginOptionsCheck(tree, self.folder, reader, sink_types).check())
        Defaults(tree, self.folder, reader, sink_types).spread()
        sinks = tuple(SinksCheck(tree, self.folder, reader, sink_types).check())
        check_targets(tree)
        check_own_files(tree, from_shell=reader.from_shell)
        check_secret_files(tree)
        if sections is not None:
            check_spool_place(tree, sections.spool)
            check_expectations(tree, sections.tests, sections.rooms)
            check_files(tree, sinks, sections.routes, (sections.spool.path, *self.files))
        if sections is not None and not tree.problems:
            doubt(tree, sections, sinks)
        return sections, sinks, options


def load(
    path: str | FilePath, sink_types: Mapping[str, SinkType], environ: Mapping[str, str] = os.environ
) -> Config:
    """The checked configuration of the file at `path`: `read` and `Document.config` in one.

    Raises:
        ConfigError: with all problems that were found.
    """
    return read(path, environ).config(sink_types)
