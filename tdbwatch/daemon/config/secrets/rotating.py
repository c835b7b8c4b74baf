"""Secrets from files that change while we run, of sinks, plugins and the status port.

Whoever asks for the value gets the present one.

The one that nodes are asked with is read at each login; see `tdbwatch.daemon.security.login`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.problems import Path
from tdbwatch.plugin import Options

if TYPE_CHECKING:
    from tdbwatch.daemon.config.models.config import Config, HttpConfig


class RotatingSecret(SecretStr):
    """A secret that may be replaced by a newer one."""

    def renew(self, value: str) -> None:
        self._secret_value = value


@dataclass(frozen=True, slots=True)
class Rotating:
    """What of a configuration changes while it is used.

    Attributes:
        secrets: by their path in the configuration.
        files: those that they came from, each once.
        read_again: the whole configuration with the secrets as they are now; raises `ConfigError`.
    """

    secrets: Mapping[Path, RotatingSecret]
    files: tuple[FilePath, ...]
    read_again: Callable[[], "Config"] = field(compare=False)


def rotating(
    files: Mapping[Path, FilePath],
    sinks: Sequence[SinkConfig],
    http: "HttpConfig | None",
    plugin_options: Mapping[str, Options],
    read_again: Callable[[], "Config"],
) -> Rotating:
    """Put secrets that can be renewed in the place of those that came from these files."""
    of_sinks = {sink.name: sink.options for sink in sinks}
    parts = {"sinks": of_sinks, "http": http, "plugins": {"options": plugin_options}}
    found: dict[Path, RotatingSecret] = {}
    for path in files:
        if (secret := _replace(parts.get(str(path[0])), path[1:])) is not None:
            found[path] = secret
    return Rotating(found, tuple(dict.fromkeys(files[path] for path in found)), read_again)


def _replace(value: Any, path: Path) -> RotatingSecret | None:
    """Replace the secret at this path within a model, a mapping or a list; None: there is none."""
    if not path:
        return None
    key, rest = path[0], path[1:]
    place = value
    if isinstance(value, BaseModel):  # which is frozen for everybody else
        key, place = _field_of(value, str(key)), value.__dict__
    try:
        item = place[key]
    except (KeyError, IndexError, TypeError):
        return None
    if rest or not isinstance(item, SecretStr):
        return _replace(item, rest)
    place[key] = secret = RotatingSecret(item.get_secret_value())
    return secret


def _field_of(model: BaseModel, key: str) -> str:
    """The attribute that a key of the configuration stands for."""
    fields = type(model).model_fields.items()
    return next((name for name, field in fields if field.alias == key), key)
