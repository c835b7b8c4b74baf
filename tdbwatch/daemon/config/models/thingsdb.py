"""The configuration of ThingsDB and its rooms: who we are, where, and what is joined."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from tdbwatch.daemon.config.models.fields import (
    FileName,
    NodeAddress,
    PositiveDuration,
    Scope,
    Section,
    Text,
    no_repeats,
)
from tdbwatch.daemon.config.problems import RefusedError
from tdbwatch.plugin import Secret
from tdbwatch.wire.names import is_room_name
from tdbwatch.wire.scopes import short

DEFAULT_SCOPE: Final = "//stuff"
NO_ROOM_NAME: Final = "a room's name has at most 255 letters, digits and _ only, and no digit first"
EXAMPLE_CANARY: Final = "tdbwatch_canary"


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
