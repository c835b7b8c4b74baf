"""Secrets in files that everyone on the machine can read."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path as FilePath
from shlex import quote

from pydantic import SecretStr

from tdbwatch.daemon.config.doubts.exposure import is_proof, values_in
from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.problems import Path, Place
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.security.trust import everyone_can_read


def doubt_files(tree: Tree, sections: Sections, sinks: Sequence[SinkConfig]) -> None:
    """Warn of each secret's file, and once of each file of the configuration in which one stands."""
    places: set[tuple[FilePath, Place]] = set()
    for path, file in tree.files.items():
        if (file, tree.place(path)) in places:  # a default that several sinks have
            continue
        places.add((file, tree.place(path)))
        _doubt(tree, path, file, "everyone on this machine can read this secret's file")
    told: set[str] = set()
    for path in _secrets(sections, sinks):
        own = tree.place(path).file
        if own in told:
            continue
        if tree.get(path) is not None and path not in tree.files and not tree.is_from_environment(path):
            message = "this secret stands in a configuration that everyone on this machine can read"
            _doubt(tree, path, FilePath(own), message)
            told.add(own)


def _doubt(tree: Tree, path: Path, file: FilePath, message: str) -> None:
    with suppress(OSError):
        if everyone_can_read(file):
            tree.warn(path, message, f"run `chmod o-r {quote(str(file))}`")


def _secrets(sections: Sections, sinks: Sequence[SinkConfig]) -> Iterator[Path]:
    """Where what proves who we are stands, and what signs; a URL mostly holds no secret."""
    for name in type(sections.thingsdb.auth).model_fields:
        if isinstance(getattr(sections.thingsdb.auth, name), SecretStr):
            yield ("thingsdb", "auth", name)
    for sink in sinks:
        for where, value in values_in(sink.options, ()):
            if isinstance(value, SecretStr) and (is_proof(where) or where[0] == "secret"):
                yield ("sinks", sink.name, *where)
