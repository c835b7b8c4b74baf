"""Which secrets a configuration holds."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr


def _password_in(secret: str) -> Iterator[str]:
    """The password within a URL, which others may name alone."""
    try:
        password = urlsplit(secret).password if "://" in secret else None
    except ValueError:  # no URL
        return
    if password:
        yield password
        yield unquote(password)


def secrets_in(value: Any) -> Iterator[str]:
    """Every secret within a part of the configuration."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
        yield from _password_in(value.get_secret_value())
        return
    for part in _parts(value):
        yield from secrets_in(part)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, BaseModel):
        return [getattr(value, name) for name in type(value).model_fields]
    if is_dataclass(value):
        return [getattr(value, one.name) for one in fields(value)]
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()
