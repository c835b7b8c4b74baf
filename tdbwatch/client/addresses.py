"""Where a node listens, as users write it. Pure: no name is resolved here."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

DEFAULT_PORT: Final = 9200
DEFAULT_WEBSOCKET_PORT: Final = 9270

Scheme = Literal["tcp", "unix", "ws", "wss"]

_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[^\[\]]+\]")
_LOGIN: Final = "a node's address must hold no user or password; write them under auth"


@dataclass(frozen=True, slots=True)
class Address:
    """One node's address. `path` is the socket's file (unix) or the URI's path (ws, wss)."""

    scheme: Scheme
    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.scheme == "tcp":
            return f"{host}:{self.port}"
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def peer(self) -> str:
        """The host as the node itself, and its certificate, know it.

        Without the zone, which says where we are (RFC 6874), and without the dot at the end, which is for the
        name server only (RFC 6066).
        """
        return self.host.partition("%")[0].removesuffix(".")

    @property
    def is_websocket(self) -> bool:
        return self.scheme in {"ws", "wss"}


def parse_address(value: str | tuple[str, int] | Address) -> Address:
    """The address of `host`, `host:port`, `[v6]:port`, `ws://...`, `wss://...`, `unix:///path` or a pair.

    The host of a pair may be any of these as well. An IPv6 address needs brackets only where a port follows;
    it may name a zone (`fe80::1%eth0`).

    Raises:
        ValueError: with a message that says what is wrong and what to write instead.
    """
    if isinstance(value, Address):
        return value
    if isinstance(value, str):
        return _parse_text(value.strip())
    try:
        host, port = value
        host = host.strip()
    except (TypeError, ValueError, AttributeError):  # not shown: a login may be among what it holds
        raise ValueError(
            f"this {type(value).__name__} is not a node's address; "
            "write a string such as node01:9200, or (host, port)"
        ) from None
    _refuse_login(host)
    if "://" in host or host.startswith("/"):
        return _parse_text(host)  # a URI names its own port
    if not host:
        raise ValueError(f"{value!r} names no host; write for instance ('node01', 9200)")
    return _of_pair(host, _port(port, host))


def _of_pair(host: str, port: int) -> Address:
    """`host` may name its own port, if `port` is the same or was left at the default."""
    if re.fullmatch(rf"(?:{_HOST.pattern}):[^:]*", host) is None:
        return Address("tcp", _host(host), port)
    address = _parse_text(host)
    if port not in {DEFAULT_PORT, address.port}:
        raise ValueError(
            f"{host!r} names port {address.port}, but port {port} is given too; leave one of them out"
        )
    return address


def _refuse_login(text: str) -> None:
    """Refuse an address with a user before anything of it is shown: what comes after may be a password.

    No host has an @ in its name. The path of a UNIX socket may; in a URI's it would be written as %40.
    """
    if "@" in text and not text.startswith(("/", "unix:///")):
        raise ValueError(_LOGIN)


def _parse_text(text: str) -> Address:
    _refuse_login(text)
    if not text:
        raise ValueError("a node's address is empty; write for instance node01:9200")
    if "://" in text:
        return _parse_uri(text)
    if text.startswith("/"):
        return Address("unix", port=0, path=text)
    if text.count(":") > 1 and not text.startswith("["):
        return Address("tcp", _host(text))
    match = re.fullmatch(rf"({_HOST.pattern})(?::([^:]*))?", text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a node's address; write for instance node01:9200 or ws://node01:9270"
        )
    port = DEFAULT_PORT if match[2] is None else _port(match[2], text)
    return Address("tcp", _host(match[1]), port)


def _host(text: str) -> str:
    """A host's name, or its address without the brackets."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" not in host and host == text:
        return host
    try:
        address = IPv6Address(host)
    except AddressValueError:
        address = None
    if address is None or (host == text and 1 < int(address) < 2**32):  # no host's address: ::1:9200 is meant
        raise ValueError(
            f"{text!r} is not a host's IPv6 address; where a port follows, write brackets, "
            f"such as [::1]:{DEFAULT_PORT}"
        )
    return host


def _parse_uri(text: str) -> Address:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"a node's address is not a valid URI: {error}") from None
    if parts.scheme == "unix":
        if parts.netloc or not parts.path:
            raise ValueError(
                f"{text!r}: write a UNIX socket with three slashes, unix:///run/thingsdb/client.sock"
            )
        return Address("unix", port=0, path=parts.path)
    if parts.scheme == "ws":
        scheme: Scheme = "ws"
    elif parts.scheme == "wss":
        scheme = "wss"
    else:
        raise ValueError(
            f"{text!r}: the scheme is none of ws://, wss:// and unix://; TCP needs none (host:port)"
        )
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    host = _host(f"[{unquote(parts.hostname)}]") if ":" in parts.hostname else parts.hostname
    return Address(scheme, host, DEFAULT_WEBSOCKET_PORT if port is None else port, path)


def _port(value: object, where: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        port = int(value) if isinstance(value, str | int) else -1
    except ValueError:
        port = -1
    if not 0 < port < 65536:
        raise ValueError(f"{where!r}: {value!r} is not a port; ports are numbers from 1 to 65535")
    return port
