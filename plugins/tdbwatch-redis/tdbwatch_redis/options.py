"""What users may write."""

from typing import Any, Final

from pydantic import Field, field_validator, model_validator
from redis.asyncio.connection import parse_url
from tdbwatch.plugin import Duration, OptionError, Options, Secret, Template, Tls

_EXAMPLES: Final = (
    "write for instance redis://HOST:6379/0, rediss://HOST:6379 (TLS) or unix:///run/redis.sock"
)


class RedisOptions(Options):
    """Options of `type: redis`."""

    url: Secret = Field(description="The server, and its database; `rediss://` is TLS.")
    username: str | None = Field(None, description="The user, if the server has users (ACL).")
    password: Secret | None = Field(None, description="The password, if it is not in `url`.")
    stream: Template = Field(
        default_factory=lambda: Template("tdbwatch"), description="The stream's key; may be a template."
    )
    maxlen: int | None = Field(None, ge=1, description="About so many entries are kept in a stream.")
    tls: Tls = Field(default_factory=Tls, description="Certificates, with `rediss://`.")
    timeout: Duration = Field(30.0, gt=0, description="The longest that one delivery may take.")

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: Secret) -> Secret:
        try:
            parse_url(value.get_secret_value())
        except ValueError:  # whose text may hold a password
            raise OptionError("this is no URL of a Redis server", _EXAMPLES) from None
        return value

    @field_validator("stream")
    @classmethod
    def _has_a_name(cls, value: Template) -> Template:
        if not value.source.strip():
            raise OptionError("a stream has a name", "leave it out for `tdbwatch`")
        return value

    @model_validator(mode="after")
    def _tls_is_meant(self) -> "RedisOptions":
        if self.tls != Tls() and not self.is_tls:
            raise OptionError("there are certificates, but no TLS", "write rediss:// in the url")
        return self

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.get_secret_value().startswith("rediss://")

    @property
    def connection(self) -> dict[str, Any]:
        """What redis-py's connections are made with, with the secrets as they are now."""
        given: dict[str, Any] = dict(parse_url(self.url.get_secret_value()))
        if self.username is not None:
            given["username"] = self.username
        if self.password is not None:
            given["password"] = self.password.get_secret_value()
        if self.is_tls:
            given |= {
                "ssl_cert_reqs": "required" if self.tls.verify else "none",
                "ssl_check_hostname": self.tls.verify,
                "ssl_ca_certs": _text(self.tls.ca_file),
                "ssl_certfile": _text(self.tls.cert_file),
                "ssl_keyfile": _text(self.tls.key_file),
            }
        return given


def _text(path: object) -> str | None:
    return None if path is None else str(path)
