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
from tdbwatch.daemon.config.text.tree import SECRET, Tree
from tdbwatch.plugin import OptionError
from tdbwatch.plugin.options import refuse_home

SUFFIXES: Final = ("_file", "_credential")
_COLLECTIONS: Final = frozenset({list, tuple, dict, set, frozenset})
_AS_TEXT: Final = "write the secret into it as text"
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

    def locate(self, suffix: str, value: object) -> FilePath:
        """The file of the secret that a key with this suffix names.

        Raises:
            RefusedError: there is none.
            UnknownHereError: only the service can read it.
        """
        if not isinstance(value, str) or not value or "\0" in value:
            what = "a file's path" if suffix == "_file" else "the name of a systemd credential"
            raise RefusedError(f"must be {what}")
        if suffix == "_file":
            refuse_home(value)
        return self.folder / value if suffix == "_file" else self._credential(value)

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
    """The text of a secret's file, without one trailing newline, nor the mark that some begin with.

    Raises:
        RefusedError: it cannot be read, or is empty.
    """
    try:
        text = read_bytes(path, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedError("the secret's file is not UTF-8 text", _AS_TEXT) from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise RefusedError("the secret's file is empty", "write the secret into it")
    if "\0" in secret:
        raise RefusedError("the secret's file holds a NUL byte", _AS_TEXT)
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
    """Put secrets where the model expects them.

    Keys that end in `_file` or `_credential` name them, or `{file: PATH}` and `{credential: NAME}` in a
    secret's place.
    """
    data = tree.get(path)
    if not isinstance(data, dict):
        return
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    secret = [key for key, annotation in fields.items() if _mentions_secret(annotation)]
    tree.origins = {(*path, key): SECRET for key in secret} | tree.origins
    for name in secret_fields(model):
        _resolve_field(tree, path, model, name, reader)
    for key in secret:
        _resolve_within(tree, (*path, key), fields[key], reader)
    for key, annotation in fields.items():
        for inner in nested_models(annotation):
            for below in _mappings(tree, (*path, key)):
                resolve_secrets(tree, below, inner, reader)


def _mappings(tree: Tree, path: Path) -> Iterator[Path]:
    """The mapping that is there, or those in the list that is there."""
    value = tree.get(path)
    if isinstance(value, dict):
        yield path
    for index in range(len(value)) if isinstance(value, list) else ():
        yield (*path, index)


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


def _resolve_within(tree: Tree, path: Path, annotation: Any, reader: SecretReader) -> None:
    """Read `{file: PATH}` and `{credential: NAME}` wherever a secret may stand, in lists and mappings too."""
    value = tree.get(path)
    if isinstance(value, dict) and SecretStr in _union_parts(annotation) and _names_source(value):
        (key,) = value
        _read(tree, (*path, key), path, f"_{key}", value[key], reader)
        return
    for part in _containers(annotation):
        inner = get_args(part)[-1 if get_origin(part) is dict else 0]
        if isinstance(value, list) and get_origin(part) is not dict:
            for index in range(len(value)):
                _resolve_within(tree, (*path, index), inner, reader)
        elif isinstance(value, dict) and get_origin(part) is dict:
            for key in list(value):
                _refuse_suffix(tree, (*path, key))
                _resolve_within(tree, (*path, key), inner, reader)


def _names_source(value: dict[str, Any]) -> bool:
    return len(value) == 1 and "_" + next(iter(value)) in SUFFIXES


def _containers(annotation: Any) -> Iterator[Any]:
    """The lists and mappings of secrets in an annotation."""
    if get_origin(annotation) in _COLLECTIONS:
        yield annotation
        return
    for part in get_args(annotation):
        yield from _containers(part)


def _refuse_suffix(tree: Tree, path: Path) -> None:
    """In a mapping of any keys, `X-Api-Key_file: PATH` would send the path itself."""
    key = str(path[-1])
    for suffix in SUFFIXES:
        if key.lower().endswith(suffix) and len(key) > len(suffix):
            name, kind = key[: -len(suffix)], suffix[1:]
            value = {"file": "PATH", "credential": "NAME"}[kind]
            hint = f"write {show_key(name)}: {{{kind}: {value}}}"
            tree.complain(
                path, f"no secret is read by a key like this: its {kind} would be sent", hint, at_key=True
            )


def _read_into(tree: Tree, source: Path, target: Path, reader: SecretReader) -> None:
    value = tree.get(source)
    del tree.get(source[:-1])[source[-1]]
    if tree.get(target) is not None:
        return
    suffix = str(source[-1])[len(str(target[-1])) :]
    _read(tree, source, target, suffix, value, reader)


def _read(tree: Tree, source: Path, target: Path, suffix: str, value: object, reader: SecretReader) -> None:
    """Put the secret that stands behind `value` at `target`; `source` is where that is in the file."""
    tree.values[target] = tree.place(source)
    tree.keys[target] = tree.place(source, at_key=True)
    tree.put(target, "unreadable")
    try:
        if not tree.is_broken(source):
            file = reader.locate(suffix, value)
            tree.put(target, read_secret(file))
            tree.files[target] = file
    except UnknownHereError as unknown:
        tree.leave(source, unknown.message)
    except OptionError as complaint:
        tree.complain(source, complaint.message, complaint.remedy)
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
    if get_origin(annotation) in _COLLECTIONS:
        return
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _union_parts(part)
