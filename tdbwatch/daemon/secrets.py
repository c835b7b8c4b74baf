"""Which secrets a configuration holds."""

from collections.abc import Iterator
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
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from secrets_in(item)
