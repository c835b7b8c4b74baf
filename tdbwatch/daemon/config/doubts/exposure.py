"""Secrets that others on the way can read, and doors that are open to all."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from tdbwatch.daemon.config.models.config import HttpConfig, Sections
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.text.tree import Tree

_UNENCRYPTED: Final = ("http://", "redis://", "nats://")
"""How URLs of sinks begin that have no TLS, or have it only where who answers wants it."""
_PROVES: Final = re.compile(r"auth|token|key|secret|password|cookie|credential", re.IGNORECASE)
"""What is in the name of a header that proves who we are."""
_SIGNS: Final = "secret"
"""The option whose secret signs, and is not sent."""
_LEAST_TOKEN: Final = 16
_PRIVATE_NAMES: Final = (".local", ".internal", ".lan", ".home.arpa", ".localhost")


def doubt_exposure(tree: Tree, sections: Sections, sinks: Sequence[SinkConfig]) -> None:
    """Warn of what others can read, or pretend to be."""
    _doubt_nodes(tree, sections)
    tls = sections.thingsdb.tls
    if tls is not None and not tls.verify:
        _doubt_verify(tree, ("thingsdb", "tls", "verify"))
    for sink in sinks:
        _doubt_sink(tree, sink)
    if sections.http is not None:
        _doubt_http(tree, sections.http)


def _doubt_http(tree: Tree, http: HttpConfig) -> None:
    if http.token is None and not is_loopback(http.host):
        message = "whoever reaches this address can read the status page and the metrics: there is no token"
        hint = (
            'add http.token_file, or listen on "127.0.0.1:9280" with a proxy before it that asks for a login'
        )
        tree.warn(("http", "listen"), message, hint)
    if http.token is not None and len(http.token.get_secret_value()) < _LEAST_TOKEN:
        message = f"a token of less than {_LEAST_TOKEN} characters can be guessed"
        tree.warn(("http", "token"), message, "make one with: openssl rand -hex 32")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. Asks no name server."""
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether it is of a network that the internet does not reach, as far as its name or address tells."""
    try:
        return not ip_address(host.strip("[]").partition("%")[0]).is_global
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(_PRIVATE_NAMES)


def _doubt_nodes(tree: Tree, sections: Sections) -> None:
    """TCP has no TLS in ThingsDB, so it is doubtful only where a node is not of a private network."""
    for index, node in enumerate(sections.thingsdb.nodes):
        if node.scheme in {"tcp", "ws"} and not is_private(node.host):
            proof = "token" if sections.thingsdb.auth.token is not None else "password"
            message = f"the {proof} goes to this node unencrypted, and so do all events"
            hint = "write wss://HOST, which has TLS, or reach the node over a private network or a tunnel"
            tree.warn(("thingsdb", "nodes", index), message, hint)


def _doubt_verify(tree: Tree, path: Path) -> None:
    message = "anybody on the way can pretend to be the other side: its certificate is not verified"
    tree.warn(path, message, "remove verify: false; for a certificate of your own name its ca_file")


def _doubt_sink(tree: Tree, sink: SinkConfig) -> None:
    path: Path = ("sinks", sink.name)
    values = list(values_in(sink.options, ()))
    for where, value in values:
        if where[-1] == "verify" and value is False:
            _doubt_verify(tree, (*path, *where))
    sends = any(is_proof(where) for where, value in values if isinstance(value, SecretStr))
    for where, value in values:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and _is_open(text, sends=sends):
            message = "a token or password goes to another host unencrypted"
            tree.warn(
                (*path, *where),
                message,
                "write https://, rediss://, tls:// or what else is encrypted, or send no secret there",
            )


def _is_open(url: str, *, sends: bool) -> bool:
    """Whether secrets go to this URL unencrypted: those that are sent along, or its own."""
    if not url.lower().startswith(_UNENCRYPTED):
        return False
    try:
        parts = urlsplit(url)
        own = parts.username is not None or parts.password is not None
        return (sends or own) and not is_loopback(parts.hostname or "")
    except ValueError:  # no URL
        return False


def is_proof(where: Path) -> bool:
    """Whether the secret here is sent. One that signs is not; of headers most prove nothing."""
    if where[0] == "headers":
        return _PROVES.search(str(where[-1])) is not None
    return where[0] not in {_SIGNS, "url", "proxy"}


def values_in(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every value within a sink's options, and where it is."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from values_in(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from values_in(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from values_in(item, (*path, index))
    elif path:
        yield path, value
