"""Checks of the sinks: some keys are the same for all, the others depend on the sink's type."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from tdbwatch.daemon.config.checks.keys import known_keys
from tdbwatch.daemon.config.checks.sections import REQUIRED
from tdbwatch.daemon.config.checks.validate import validate
from tdbwatch.daemon.config.models.fields import check_sink_name
from tdbwatch.daemon.config.models.sinks import RetryConfig, SinkConfig, SinkSettings, parted
from tdbwatch.daemon.config.problems import Path, RefusedError, suggestion
from tdbwatch.daemon.config.secrets.fingerprint import fingerprint
from tdbwatch.daemon.config.secrets.secret_keys import SecretReader, resolve_secrets
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.words import counted, duration
from tdbwatch.plugin import SinkType


def add_automatic(tree: Tree, types: Mapping[str, SinkType]) -> None:
    """Add the sinks that plugins are by their event hooks; one that is written need not say its type."""
    sinks = tree.data.get("sinks", {})
    if not isinstance(sinks, dict):
        return
    for name in (name for name, sink_type in types.items() if sink_type.hears):
        written = sinks.setdefault(name, {})
        if not isinstance(written, dict):
            continue
        if written.setdefault("type", name) != name:
            message = f"plugin {name!r} hears events as the sink of this name"
            hint = "leave out the type to tune that sink, or give this one another name"
            tree.complain(("sinks", name, "type"), message, hint)
    if sinks:
        tree.data["sinks"] = sinks


@dataclass(frozen=True, slots=True)
class SinksCheck:
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
            self.tree.complain(("sinks",), "must be a mapping of names to sinks", REQUIRED["sinks"])
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
            self.tree.complain(path, complaint.message, complaint.remedy, at_key=True)
        if not isinstance(data, dict):
            self.tree.complain(path, "must be a mapping (key: value)", "write for instance {type: log}")
            return None
        self._near_type(path, data)
        common = {key: value for key, value in data.items() if key in SinkSettings.model_fields}
        settings = validate(self.tree, path, common, SinkSettings, self.folder)
        if settings is not None:
            self._warn_of_age(path, settings.retry)
        sink_type = self._type(path, data)
        if sink_type is None:
            return None
        resolve_secrets(self.tree, path, sink_type.options, self.reader)
        seen = fingerprint(data, self.folder)
        _, own = parted(data, sink_type)
        options = validate(
            self.tree, path, own, sink_type.options, self.folder, tuple(known_keys(SinkSettings))
        )
        return (
            None
            if settings is None or options is None
            else SinkConfig(name, _of_type(settings, sink_type), options, sink_type.hears, seen)
        )

    def _near_type(self, path: Path, data: dict[str, Any]) -> None:
        """Without a type nobody knows which keys there are; one that is nearly `type` is meant so."""
        near = difflib.get_close_matches("type", data, n=1, cutoff=0.6) if "type" not in data else ()
        for key in near:
            self.tree.complain((*path, key), "unknown key", "did you mean type?", at_key=True)
            self.tree.broken.add((*path, "type"))

    def _warn_of_age(self, path: Path, retry: RetryConfig) -> None:
        """Say so where a `max_age` that was written is never reached."""
        reach, age = retry.reach, retry.max_age
        if reach is None or age is None or reach >= age or "max_age" not in retry.model_fields_set:
            return
        used_up = f"the {counted(retry.max_attempts or 0, 'attempt')} are used up after {duration(reach)}"
        if not reach:
            used_up = "the one attempt is used up at once"
        self.tree.warn(
            (*path, "retry", "max_age"),
            f"it is never reached: {used_up}",
            "leave out max_attempts, and age decides; or leave out max_age",
        )

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


def _of_type(settings: SinkSettings, sink_type: SinkType) -> SinkSettings:
    """What the configuration leaves open is as the sink's type has it."""
    usual = {"count": sink_type.batch_count, "bytes": sink_type.batch_bytes}
    left_open = {key: value for key, value in usual.items() if key not in settings.batch.model_fields_set}
    batch = settings.batch.model_copy(update=left_open)
    return settings.model_copy(update={"batch": batch})
