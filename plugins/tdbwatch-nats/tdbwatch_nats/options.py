"""What users may write."""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema, field_validator, model_validator
from tdbwatch.plugin import Duration, OptionError, Options, Secret, Template, Tls

_SCHEMES: Final = frozenset({"nats", "tls"})
_EXAMPLE: Final = "write for instance nats://HOST:4222, or tls://HOST:4222"
_SUBJECT: Final = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
_TAGS: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_STREAM: Final = re.compile(r"[^\s.*>/\\]+")


def _of_text(value: object) -> object:
    """Values are encoded as in URLs, so that none is a wildcard or breaks the protocol."""
    return Template(value, "url") if isinstance(value, str) else value


Subject = Annotated[InstanceOf[Template], BeforeValidator(_of_text), WithJsonSchema({"type": "string"})]


def is_subject(text: str) -> bool:
    """Whether messages may be published to it."""
    return _SUBJECT.fullmatch(text) is not None


class NatsOptions(Options):
    """Options of `type: nats`."""

    servers: list[str] = Field(
        min_length=1, description="The servers of the cluster; `tls://` wants TLS. One of them is used."
    )
    subject: Subject = Field(
        default_factory=lambda: Template("tdbwatch.{{ room }}", "url"),
        description="The subject; may be a template. A stream must take it.",
    )
    stream: str | None = Field(None, description="The stream that must take it; no other one will do.")
    username: str | None = Field(None, description="The user's name.")
    password: Secret | None = Field(None, description="The user's password.")
    token: Secret | None = Field(None, description="A token, instead of user and password.")
    tls: Tls = Field(default_factory=Tls, description="Certificates, where TLS is used.")
    timeout: Duration = Field(30.0, gt=0, description="The longest that one delivery may take.")

    @field_validator("servers")
    @classmethod
    def _are_servers(cls, value: list[str]) -> list[str]:
        for server in value:
            try:
                parts = urlsplit(server)
                ok = parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
            except ValueError:  # whose text may hold a password
                raise OptionError("this is no address of a NATS server", _EXAMPLE) from None
            if not ok:
                raise OptionError("this is no address of a NATS server", _EXAMPLE)
            if "@" in parts.netloc:
                raise OptionError(
                    "a login does not belong into an address", "write username and password, or token"
                )
        return value

    @field_validator("subject")
    @classmethod
    def _is_a_subject(cls, value: Template) -> Template:
        if not is_subject(_TAGS.sub("x", value.source)):
            raise OptionError("this is no subject to publish to", "write words with dots between, no * or >")
        return value

    @field_validator("stream")
    @classmethod
    def _is_a_stream(cls, value: str | None) -> str | None:
        if value is not None and not _STREAM.fullmatch(value):
            raise OptionError("this is no name of a stream", "it has no spaces, dots, * or >")
        return value

    @model_validator(mode="after")
    def _proves_itself_once(self) -> "NatsOptions":
        if self.token is not None and (self.username is not None or self.password is not None):
            raise OptionError("there are a token and a user", "give one of them")
        if (self.username is None) != (self.password is None):
            raise OptionError("username and password belong together", "give both, or neither")
        return self

    @property
    def login(self) -> dict[str, Any]:
        """What nats-py logs in with, as it is now."""
        if self.token is not None:
            return {"token": self.token.get_secret_value()}
        if self.username is None or self.password is None:
            return {}
        return {"user": self.username, "password": self.password.get_secret_value()}
