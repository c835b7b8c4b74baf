"""What users may write."""

import re
import ssl
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator, model_validator
from tdbwatch.plugin import Duration, OptionError, Options, Secret, Tls

_SCHEMES: Final = frozenset({"postgresql", "postgres"})
_EXAMPLES: Final = "write postgresql://USER@HOST/DATABASE, or postgresql:///DATABASE?host=/run/postgresql"
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_TABLE: Final = re.compile(rf"({_NAME}\.)?{_NAME}")
_LOOPBACK: Final = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[::1\]|::1")
_MODES: Final = frozenset({"disable", "verify-full"})


class PostgresOptions(Options):
    """Options of `type: postgres`."""

    url: Secret = Field(description="The server, user and database.")
    password: Secret | None = Field(None, description="The password, if it is not in `url`.")
    table: str = Field("tdbwatch_events", description="The table, with its schema if you like.")
    create: bool = Field(default=True, description="Create the table where it is not there.")
    tls: Tls = Field(default_factory=Tls, description="Certificates, where TLS is used.")
    timeout: Duration = Field(30.0, gt=0, description="The longest that one delivery may take.")

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: Secret) -> Secret:
        try:
            parts, hosts = urlsplit(value.get_secret_value()), _hosts(value)
        except ValueError:  # whose text may hold a password
            raise OptionError("this is no URL of a PostgreSQL server", _EXAMPLES) from None
        if parts.scheme not in _SCHEMES or not all(hosts):
            raise OptionError("this is no URL of a PostgreSQL server", _EXAMPLES)
        if _sslmode(value) not in {None, *_MODES}:
            raise OptionError("with this sslmode nobody knows who answers", "write verify-full, or disable")
        return value

    @field_validator("table")
    @classmethod
    def _is_a_table(cls, value: str) -> str:
        if not _TABLE.fullmatch(value):
            raise OptionError("this is no name of a table", "write NAME or SCHEMA.NAME, without quotes")
        return value

    @model_validator(mode="after")
    def _tls_is_meant(self) -> "PostgresOptions":
        if self.tls != Tls() and _sslmode(self.url) == "disable":
            raise OptionError("there are certificates, but no TLS", "take sslmode=disable out of the url")
        return self

    @property
    def quoted_table(self) -> str:
        """The table as SQL has it: as it is written, upper and lower case too."""
        return ".".join(f'"{name}"' for name in self.table.split("."))

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS, unless the server is on this machine and nobody asks for it.

        Raises:
            OSError: a file of `tls` cannot be used.
        """
        mode = _sslmode(self.url)
        local = all(host.startswith("/") or _LOOPBACK.fullmatch(host) for host in _hosts(self.url))
        if mode == "disable" or (mode is None and local and self.tls == Tls()):
            return None
        return self.tls.context()


def _hosts(url: Secret) -> list[str]:
    """The names and socket folders in a URL; an empty one is none."""
    parts = urlsplit(url.get_secret_value())
    listed = parse_qs(parts.query).get("host", [])
    place = parts.netloc.rpartition("@")[2]
    if place:
        listed = [*listed, place]
    return [re.sub(r":\d*$", "", host) for hosts in listed or [""] for host in hosts.split(",")]


def _sslmode(url: Secret) -> str | None:
    return parse_qs(urlsplit(url.get_secret_value()).query).get("sslmode", [None])[-1]
