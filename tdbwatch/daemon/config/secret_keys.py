"""Secrets from files and from systemd credentials.

Wherever a model has a field of type `Secret`, such as `token`, the configuration may have `token_file` (a
file's path) or `token_credential` (the name of a systemd credential) instead. It holds for the options of
plugins' sinks as well: they see the secret and need not know where it came from.
"""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, SecretStr

from tdbwatch.daemon.config.problems import Path, RefusedError, show_key
from tdbwatch.daemon.config.tree import Tree

SUFFIXES: Final = ("_file", "_credential")
_MAX_BYTES: Final = 64 * 1024
_UNKNOWN_HERE: Final = "only the service knows this credential, so it is not checked here"
_MISSING: Final = "check the path; a relative one starts at the configuration file's folder"


class UnknownHereError(RefusedError):
    """The secret is fine as far as can be told, but only the service can read it."""


@dataclass(frozen=True, slots=True)
class SecretReader:
    """Reads secrets. Relative paths are relative to `folder`, the configuration file's.

    Attributes:
        from_shell: whether this runs outside of the service, where systemd's credentials are not to be had.
    """

    folder: FilePath
    environ: Mapping[str, str]
    from_shell: bool = False

    def read(self, suffix: str, value: object) -> str:
        """The secret that a key with this suffix names.

        Raises:
            RefusedError: there is none, it cannot be read, or it is empty.
            UnknownHereError: only the service can read it.
        """
        if not isinstance(value, str) or not value or "\0" in value:
            what = "a file's path" if suffix == "_file" else "the name of a systemd credential"
            raise RefusedError(f"must be {what}")
        return read_secret(self.folder / value if suffix == "_file" else self._credential(value))

    def _credential(self, name: str) -> FilePath:
        if "/" in name or name in {".", ".."}:
            raise RefusedError("a credential's name holds no /", "for a path, use the key that ends in _file")
        directory = self.environ.get("CREDENTIALS_DIRECTORY")
        if not directory and self.from_shell:
            raise UnknownHereError(_UNKNOWN_HERE)
        if not directory:
            raise RefusedError(
                "there are no systemd credentials: CREDENTIALS_DIRECTORY is not set",
                f"add LoadCredential={name}:/path to the unit, or use the key that ends in _file",
            )
        path = FilePath(directory) / name
        if not path.exists():
            raise RefusedError(
                f"there is no systemd credential {show_key(name)}",
                f"add LoadCredential={name}:/path to the unit",
            )
        return path


def read_secret(path: FilePath) -> str:
    """The text of a secret's file, without one trailing newline, nor the mark that some begin with."""
    try:
        text = read_bytes(path, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedError("the secret's file is not UTF-8 text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise RefusedError("the secret's file is empty", "write the secret into it")
    if "\0" in secret:
        raise RefusedError("the secret's file holds a NUL byte; it is not text")
    return secret


def read_bytes(path: FilePath, limit: int, *, missing: str = _MISSING) -> bytes:
    """The content of a regular file of at most `limit` bytes; anything else could block or never end.

    Args:
        missing: the remedy where there is no such file.

    Raises:
        RefusedError: with what is wrong and what to do.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise RefusedError(f"cannot be read: it is {what}", "name a file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        hint = {
            FileNotFoundError: missing,
            PermissionError: "give the user that runs tdbwatch the right to read it",
        }.get(type(error), "")
        raise RefusedError(f"cannot be read: {error.strerror or type(error).__name__}", hint) from None
    if len(content) > limit:
        raise RefusedError(f"cannot be read: it is larger than {limit // 1024} KiB", "name the right file")
    return content


def resolve_secrets(tree: Tree, path: Path, model: type[BaseModel], reader: SecretReader) -> None:
    """Put the secrets that `*_file` and `*_credential` keys name where the model expects them."""
    data = tree.get(path)
    if not isinstance(data, dict):
        return
    for name, field in model.model_fields.items():
        if _mentions_secret(field.annotation):
            tree.origins.setdefault((*path, field.alias or name), "this secret")
    for name in secret_fields(model):
        _resolve_field(tree, path, model, name, reader)
    for name, field in model.model_fields.items():
        key = field.alias or name
        for inner in nested_models(field.annotation):
            if isinstance(data.get(key), dict):
                resolve_secrets(tree, (*path, key), inner, reader)


def _resolve_field(tree: Tree, path: Path, model: type[BaseModel], name: str, reader: SecretReader) -> None:
    data = tree.get(path)
    own = set(model.model_fields)
    given = [
        key
        for key in (name, name + SUFFIXES[0], name + SUFFIXES[1])
        if key in data and (key == name or key not in own)
    ]
    if len(given) > 1:
        hint = f"{' and '.join(given)} mean the same secret"
        tree.complain((*path, given[1]), f"only one of {', '.join(given)} may be written", hint, at_key=True)
    for key in given:
        if key != name:
            _read_into(tree, (*path, key), (*path, name), reader)


def _read_into(tree: Tree, source: Path, target: Path, reader: SecretReader) -> None:
    value = tree.get(source)
    del tree.get(source[:-1])[source[-1]]
    if tree.get(target) is not None:
        return
    suffix = str(source[-1])[len(str(target[-1])) :]
    tree.values[target] = tree.place(source)
    tree.keys[target] = tree.place(source, at_key=True)
    tree.put(target, "unreadable")
    try:
        if not tree.is_broken(source):
            tree.put(target, reader.read(suffix, value))
    except UnknownHereError as unknown:
        tree.leave(source, unknown.message)
    except RefusedError as complaint:
        tree.complain(source, complaint.message, complaint.hint)
    if tree.is_broken(source):
        tree.broken.add(target)


def secret_fields(model: type[BaseModel]) -> Iterator[str]:
    """The keys of the model's fields that take a secret as text."""
    for name, field in model.model_fields.items():
        if any(part is SecretStr for part in _union_parts(field.annotation)):
            yield field.alias or name


def nested_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation such as `Retry | None` or `tuple[Room, ...]` speaks of."""
    if isinstance(annotation, type) and not get_args(annotation):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for part in get_args(annotation):
        yield from nested_models(part)


def _mentions_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_mentions_secret, get_args(annotation)))


def _union_parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in {list, tuple, dict, set, frozenset}:
        return
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _union_parts(part)
