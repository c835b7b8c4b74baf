"""Which keys the models know, and which models may stand at a place in the configuration."""

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.secrets.secret_keys import SUFFIXES, nested_models, secret_fields


def known_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key that the configuration may have for this model, with those that read secrets."""
    secrets = set(secret_fields(model))
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield key
        if key in secrets:
            yield from (key + suffix for suffix in SUFFIXES)


def owners(model: type[BaseModel], path: Path) -> Iterator[type[BaseModel]]:
    """The models that may stand at `path` below `model`."""
    if not path:
        yield model
        return
    key, rest = path[0], path[1:]
    while rest and isinstance(rest[0], int):
        rest = rest[1:]
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            for inner in nested_models(field.annotation):
                yield from owners(inner, rest)


def fields_at(model: type[BaseModel], path: Path) -> Iterator[FieldInfo]:
    """The fields that may stand at `path` below `model`."""
    for owner in owners(model, path[:-1]) if path else ():
        for name, field in owner.model_fields.items():
            if path[-1] == (field.alias or name):
                yield field
