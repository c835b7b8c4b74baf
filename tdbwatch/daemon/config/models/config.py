"""The configuration, as the rest of the daemon sees it: checked, typed and unchangeable.

The keys are those of docs/configuration.md. Durations are seconds, sizes are bytes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, InstanceOf, model_validator

from tdbwatch.daemon.config.models.expectations import ExpectationConfig
from tdbwatch.daemon.config.models.fields import (
    FileName,
    ListenAddress,
    PositiveDuration,
    Section,
    Text,
)
from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig, own_names
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.models.thingsdb import RoomConfig, ThingsDBConfig
from tdbwatch.daemon.config.problems import Problem, RefusedError
from tdbwatch.daemon.config.secrets.rotating import Rotating
from tdbwatch.plugin import Duration, Options, Secret, Size

DEFAULT_SPOOL: Final = Path("/var/lib/tdbwatch/spool.db")


class SpoolConfig(Section):
    """The log on disk between rooms and sinks."""

    path: FileName = DEFAULT_SPOOL
    """The spool's file; default: `spool.db` in systemd's state directory, else in /var/lib/tdbwatch."""
    max_size: Size = Field(default=1024**3, ge=1024**2)
    """Its largest size in bytes."""
    max_age: PositiveDuration = 7 * 86400.0
    """Seconds after which an event that no sink took is dropped."""
    when_full: Literal["drop_oldest", "drop_newest"] = "drop_oldest"
    """What to drop, and count in a gap record, when it is full."""


class HttpConfig(Section):
    """The status page, metrics and health checks."""

    listen: ListenAddress
    """Where to listen: `host:port`. Port 0 takes any free one."""
    hosts: tuple[Text, ...] = ()
    """Names by which it may be asked for, in the header `Host`."""
    token: Secret | None = None
    """What whoever asks must know, but for `/healthz` and `/readyz`."""

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.token is not None and not re.fullmatch(r"[!-~]+", self.token.get_secret_value()):
            raise RefusedError(
                "the token must be printable ASCII without spaces: it is sent in a header",
                "make one with: openssl rand -hex 32",
            )
        return self

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class LoggingConfig(Section):
    """The daemon's own log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important messages to show."""
    format: Literal["auto", "console", "journal", "json"] = "auto"
    """`auto`: console on a terminal, journal under systemd, json otherwise."""


def _none_of(_: dict[str, Any]) -> dict[str, Any]:
    """Checked with the plugins' own models, and kept with `Config.plugin_options`: there may be secrets."""
    return {}


class PluginsConfig(Section):
    """Where plugins come from."""

    paths: tuple[FileName, ...] = ()
    """Folders whose Python files are plugins."""
    disable: tuple[Text, ...] = ()
    """Names of plugins not to load."""
    options: Annotated[dict[str, Any], AfterValidator(_none_of)] = Field(default_factory=dict)
    """By plugin, the options of those that have some of their own."""


class ShutdownConfig(Section):
    """How to stop."""

    grace: Duration = 10.0
    """Seconds for sinks to finish; what is left stays in the spool."""


BESIDE_SECTIONS: Final = ("sinks", "defaults", "include")
"""What else is at the top of a configuration: sinks and their defaults have keys by their types, and what is
included is read before anything is judged."""


class Sections(Section):
    """The whole configuration but its sinks, whose keys depend on their types."""

    thingsdb: ThingsDBConfig
    rooms: tuple[RoomConfig, ...] = Field(min_length=1)
    routes: tuple[RouteConfig, ...] = ()
    absences: Annotated[tuple[AbsenceConfig, ...], AfterValidator(own_names)] = ()
    spool: SpoolConfig = SpoolConfig()
    http: HttpConfig | None = None
    logging: LoggingConfig = LoggingConfig()
    plugins: PluginsConfig = PluginsConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
    tests: tuple[ExpectationConfig, ...] = ()


class Config(Sections):
    """A configuration that can be run. Made by `tdbwatch.daemon.config.load`."""

    sinks: tuple[SinkConfig, ...]
    warnings: tuple[Problem, ...] = ()
    """What is allowed, and hardly meant so, in the order of the file."""
    plugin_options: dict[str, InstanceOf[Options]] = Field(default_factory=dict)
    """By plugin, its own options."""
    secret_files: Mapping[tuple[str | int, ...], Path] = {}
    """The files that secrets were read from, by the secret's own path."""

    digest: str = ""
    """Tells whether two configurations say the same: a hash of what is written, secrets' files apart."""
    shown: str = ""
    """What the file says, as YAML without secrets, and without what the environment holds."""
    rotating: InstanceOf[Rotating] | None = None
    """The secrets from files that change while they are used; None: nobody looks at them again."""

    @property
    def login_file(self) -> Path | None:
        """The file that the token or the password came from."""
        key = "token" if self.thingsdb.auth.token is not None else "password"
        return self.secret_files.get(("thingsdb", "auth", key))

    @classmethod
    def combine(
        cls,
        sections: Sections,
        sinks: tuple[SinkConfig, ...],
        warnings: tuple[Problem, ...] = (),
        secret_files: Mapping[tuple[str | int, ...], Path] = MappingProxyType({}),
        rotating: Rotating | None = None,
        plugin_options: Mapping[str, Options] = MappingProxyType({}),
        digest: str = "",
        shown: str = "",
    ) -> "Config":
        """One configuration of parts that are checked already."""
        parts: dict[str, Any] = {name: getattr(sections, name) for name in Sections.model_fields}
        return cls.model_construct(
            **parts,
            sinks=sinks,
            warnings=warnings,
            secret_files=secret_files,
            rotating=rotating,
            plugin_options=dict(plugin_options),
            digest=digest,
            shown=shown,
        )
