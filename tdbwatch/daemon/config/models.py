"""The configuration, as the rest of the daemon sees it: checked, typed and unchangeable.

The keys are those of docs/configuration.md. Durations are seconds, sizes are bytes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, InstanceOf, Strict, model_validator

from tdbwatch.daemon.config.expectations import ExpectationConfig
from tdbwatch.daemon.config.fields import (
    Condition,
    FieldName,
    FileName,
    Globs,
    Listed,
    ListenAddress,
    NodeAddress,
    PositiveDuration,
    Scope,
    Section,
    Text,
    Value,
    no_repeats,
)
from tdbwatch.daemon.config.problems import Problem, RefusedError
from tdbwatch.daemon.config.rotating import Rotating
from tdbwatch.daemon.config.sink_models import SinkConfig
from tdbwatch.plugin import Duration, Kind, Options, Secret, Size
from tdbwatch.wire.names import is_room_name
from tdbwatch.wire.scopes import short

DEFAULT_SCOPE: Final = "//stuff"
DEFAULT_SPOOL: Final = Path("/var/lib/tdbwatch/spool.db")

NO_ROOM_NAME: Final = "a room's name has at most 255 letters, digits and _ only, and no digit first"
EXAMPLE_CANARY: Final = "tdbwatch_canary"

_ONE: Final = {"x-one": True}
_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
Kinds = Annotated[
    tuple[Annotated[Kind, Strict(False)], ...], Listed, Field(min_length=1, json_schema_extra=_ONE)
]
SinkNames = Annotated[tuple[str, ...], Listed, Field(json_schema_extra=_ONE)]


class AuthConfig(Section):
    """Who we are: a token, or a user and password."""

    token: Secret | None = None
    """A token of a ThingsDB user."""
    username: Text | None = None
    """A ThingsDB user's name."""
    password: Secret | None = None
    """That user's password."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        hint = "write token (or token_file, token_credential), or username and password"
        if self.token is not None and (self.username is not None or self.password is not None):
            raise RefusedError("a token and a user with password exclude each other", hint)
        if self.token is None and (self.username is None or self.password is None):
            raise RefusedError("there is neither a token nor a user with password", hint)
        for name, secret in (("token", self.token), ("password", self.password)):
            if secret is not None and not secret.get_secret_value():
                raise RefusedError(f"the {name} is empty", hint)
        return self


class TlsConfig(Section):
    """TLS of `wss://` nodes. (TCP has none in ThingsDB.)"""

    ca_file: FileName | None = None
    """Certificates (PEM) that sign the nodes' ones; default: those the system trusts."""
    cert_file: FileName | None = None
    """Our own certificate (PEM), where a proxy asks for one."""
    key_file: FileName | None = None
    """The certificate's private key (PEM); default: it is in `cert_file`."""
    verify: bool = True
    """Whether to verify the nodes' certificates and names."""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise RefusedError("there is a key_file but no cert_file", "add cert_file")
        if self.ca_file is not None and not self.verify:
            raise RefusedError("ca_file is of no use with verify: false", "remove one of them")
        return self


class HeartbeatConfig(Section):
    """How a silent connection is found out."""

    interval: PositiveDuration = 5.0
    """Seconds of silence after which the node is asked for a sign of life."""
    timeout: PositiveDuration = 15.0
    """Seconds of silence after which the connection counts as dead."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.timeout <= self.interval:
            raise RefusedError(
                "the timeout must be longer than the interval", "for instance interval: 5s, timeout: 15s"
            )
        return self


class CanaryConfig(Section):
    """A small emit of our own that must come back on every connection: proof that delivery lives."""

    room: Text
    """The room to emit to, by name; best one that is used for nothing else."""
    scope: Scope | None = None
    """Its collection; default: `thingsdb.scope`."""
    interval: PositiveDuration = 10.0
    """Seconds between emits."""
    timeout: PositiveDuration = 5.0
    """Seconds within which every connection must deliver it; one that does not is replaced."""

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if not is_room_name(self.room):
            raise RefusedError(
                NO_ROOM_NAME, f"write for instance {EXAMPLE_CANARY}, and make a room of this name"
            )
        if self.timeout > self.interval:
            raise RefusedError(
                "the timeout must not be longer than the interval", "for instance interval: 10s, timeout: 5s"
            )
        return self


class ThingsDBConfig(Section):
    """Where ThingsDB is and how to get in."""

    nodes: tuple[NodeAddress, ...] = Field(min_length=1)
    """The nodes' addresses: `host`, `host:port`, `ws://...`, `wss://...` or `unix:///path`."""
    auth: AuthConfig
    """Who we are."""
    scope: Scope = DEFAULT_SCOPE
    """The scope of rooms that name none."""
    connections: Literal["auto"] | int = "auto"
    """Live connections to different nodes; `auto`: 2 with two or more nodes, else 1."""
    tls: TlsConfig | None = None
    """TLS of `wss://` nodes."""
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    """How a silent connection is found out."""
    canary: CanaryConfig | None = None
    """A small emit that must come back on every connection; default: none."""

    @property
    def live_connections(self) -> int:
        """How many connections to keep, with `auto` worked out."""
        return min(2, len(self.nodes)) if self.connections == "auto" else self.connections

    @model_validator(mode="after")
    def _sense(self) -> Self:
        no_repeats(self.nodes)
        if self.connections != "auto" and not 1 <= self.connections <= 16:
            raise RefusedError("connections must be auto or a number from 1 to 16")
        if self.tls is not None and all(node.scheme != "wss" for node in self.nodes):
            raise RefusedError("tls is set but no node is a wss:// one", "write wss://HOST, or remove tls")
        return self


class RoomConfig(Section):
    """A room to watch: by name, by id, or by code that returns its id."""

    name: Text | None = None
    """The room's name in its collection."""
    id: int | None = Field(default=None, ge=0, lt=2**63)
    """The room's id in its collection."""
    code: Text | None = None
    """ThingsDB code that returns the room's id; run again at every join."""
    scope: Scope = DEFAULT_SCOPE
    """The collection; default: `thingsdb.scope`."""
    alias: Text | None = Field(default=None, alias="as")
    """The room's name in records and routes; default: its name or id. Required with `code`."""
    args: tuple[Text, ...] | dict[str, tuple[Text, ...]] = ()
    """Names for the events' arguments, in order, or those by event (`*`: all others); records then have them
    by name under `data`."""
    required: bool = False
    """Whether tdbwatch counts as ready only while this room is joined."""

    @property
    def target(self) -> tuple[str, str | int, str]:
        """What is joined: the same for two that mean one room in the same words."""
        given = {key: getattr(self, key) for key in ("name", "id", "code")}
        kind, value = next((key, value) for key, value in given.items() if value is not None)
        return kind, value, short(self.scope)

    @property
    def record_name(self) -> str:
        """What records and routes call the room."""
        return self.alias or self.name or str(self.id)

    def arg_names(self, event: str) -> tuple[str, ...]:
        """What the arguments of this event are called."""
        if isinstance(self.args, tuple):
            return self.args
        return self.args.get(event, self.args.get("*", ()))

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [key for key in ("name", "id", "code") if getattr(self, key) is not None]
        if len(given) != 1:
            found = f"this one has {' and '.join(given)}" if given else "this one has none"
            message = f"a room needs exactly one of name, id and code; {found}"
            raise RefusedError(message, "write for instance {name: alerts}")
        if self.name is not None and not is_room_name(self.name):
            by_id = "write {id: ID} for the room with this id"
            by_code = "for a room found by ThingsDB code write {code: ..., as: NAME}"
            raise RefusedError(NO_ROOM_NAME, by_id if self.name.isdecimal() else by_code)
        if self.code is not None and self.alias is None:
            raise RefusedError(
                "a room found by code needs a name for its records", "add for instance `as: monitor`"
            )
        for names in self.args.values() if isinstance(self.args, dict) else [self.args]:
            no_repeats(names)
        return self


def _absence_name(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise RefusedError(
            "an absence's name may hold letters, digits, _ . and -, at most 64 of them", "rename it"
        )
    return value


def _own_names(absences: "tuple[AbsenceConfig, ...]") -> "tuple[AbsenceConfig, ...]":
    no_repeats(tuple(absence.name for absence in absences))
    return absences


class PlaceConfig(Section):
    """Which records are meant, by their names: those that match every key that is given."""

    room: Globs | None = None
    """Globs over the room's name."""
    event: Globs | None = None
    """Globs over the event's name."""
    scope: Globs | None = None
    """Globs over the scope, such as `//ops*`."""
    kind: Kinds = (Kind.EVENT,)
    """`event`, or what tdbwatch says itself, such as `gap` or `absence`; or a list of them."""


class MatchConfig(PlaceConfig):
    """Which records a route takes: those that match every key that is given."""

    fields: dict[FieldName, Globs] = Field(default_factory=dict)
    """Globs over fields that this route or one before has set; `5` and `true` are matched as text."""


class ThrottleConfig(Section):
    """Lets so many events through in a time."""

    count: int = Field(ge=1, le=10_000)
    """How many."""
    per: PositiveDuration
    """In how many seconds."""
    key: Value | None = None
    """What events have in common that are counted together: a CEL expression; default: all of the route."""


class DedupeConfig(Section):
    """Lets one event through in a time."""

    window: PositiveDuration
    """Seconds for which further events with the same key are held back."""
    key: Value
    """What makes two events the same: a CEL expression."""


class GroupConfig(Section):
    """Collects events for a time, and makes one record of them."""

    key: Value | None = None
    """What events have in common that are collected together: a CEL expression; default: all of the route."""
    wait: PositiveDuration
    """Seconds from the first until the record is made."""
    max: int = Field(default=100, ge=2, le=1000)
    """Events with which it is made sooner."""


_MADE: Final = frozenset({Kind.SUPPRESSED, Kind.GROUP})
"""What routes that remember make themselves: none of them holds it back again, or that would never end."""


class RouteConfig(Section):
    """Sends what it matches to sinks. Routes are asked in order."""

    match: MatchConfig = MatchConfig()
    """What the route takes; default: every event."""
    where: Condition | None = None
    """What else must hold for the event: a CEL expression."""
    on_error: Literal["skip", "match"] = "skip"
    """What becomes of an event for which `where` has no value, such as where a key is missing."""
    set: dict[FieldName, Value] = Field(default_factory=dict)
    """Fields to add to what the route takes: a CEL expression each."""
    throttle: ThrottleConfig | None = None
    """Lets so many of the events through in a time; the others are held back, and counted."""
    dedupe: DedupeConfig | None = None
    """Lets one of equal events through in a time; the others are held back, and counted."""
    group: GroupConfig | None = None
    """Collects events for a time, and sends one record in place of them."""
    default: bool = False
    """Whether it takes only what no route before it, in the same list, took."""
    to: SinkNames = ()
    """The sinks that get it. May be empty with `stop: true`: then it is dropped."""
    routes: tuple["RouteConfig", ...] = ()
    """More routes, asked about what this one matched only."""
    stop: bool = False
    """Whether later routes are not asked about what this one matched."""

    @model_validator(mode="after")
    def _purpose(self) -> Self:
        self._refuse_odd_holds()
        if self.on_error == "match" and self.where is None:
            raise RefusedError("on_error is about `where`, and there is none", "remove on_error")
        if not (self.to or self.stop or self.set or self.routes):
            raise RefusedError(
                "a route to no sink does nothing",
                "name sinks; or add `stop: true` to drop what it matches, or `set` to add fields",
            )
        no_repeats(self.to)
        return self

    def _refuse_odd_holds(self) -> None:
        holds = [key for key in ("throttle", "dedupe", "group") if getattr(self, key) is not None]
        if len(holds) > 1:
            hint = "dedupe is a throttle with count: 1; to group what a throttle lets through is not possible"
            raise RefusedError(f"{' and '.join(holds)} exclude each other", hint)
        if holds and (made := _MADE.intersection(self.match.kind)):
            message = f"records of kind {min(made)} cannot be held back: such routes make them"
            raise RefusedError(message, f"leave out {holds[0]}, or the kind")
        if self.group is not None and (self.routes or not self.to):
            hint = "write `to` beside `group`; `set` and `where` may be there, too"
            raise RefusedError("a route that groups sends to sinks itself, not to routes within", hint)


class AbsenceConfig(Section):
    """Tells when nothing that matches has come for a time, and when it comes again."""

    name: Annotated[str, AfterValidator(_absence_name)]
    """What its records call it."""
    match: PlaceConfig
    """What should come."""
    where: Condition | None = None
    """What else must hold for it: a CEL expression."""
    on_error: Literal["skip", "match"] = "skip"
    """What becomes of an event for which `where` has no value: it does not count (`skip`), or it does."""
    after: PositiveDuration
    """Seconds of silence after which it is told."""
    to: SinkNames = ()
    """The sinks that are told, whatever the routes say of `kind: absence`."""

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if Kind.ABSENCE in self.match.kind:
            raise RefusedError("the absence of absences cannot be told", "leave out kind: absence")
        if self.on_error == "match" and self.where is None:
            raise RefusedError("on_error is about `where`, and there is none", "remove on_error")
        no_repeats(self.to)
        return self


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
    absences: Annotated[tuple[AbsenceConfig, ...], AfterValidator(_own_names)] = ()
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
