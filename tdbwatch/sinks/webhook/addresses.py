"""URLs as users write them: checked, sent as they are, and shown without what may be secret."""

import re
from typing import Final
from urllib.parse import quote

from yarl import URL

from tdbwatch.plugin.options import OptionError
from tdbwatch.plugin.template import Template, has_tag

_SAYABLE: Final = re.compile(r"[\w.~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)  # RFC 3986, 2
_PARTS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*@)?([^/?#@]*)(.*)", re.DOTALL)
"""Scheme, user and password, host and port, the rest."""
_EXAMPLE: Final = "write for instance https://example.org/hook"


def parse_url(text: str) -> URL:
    """The URL exactly as written, since some receivers sign it; only what URLs cannot hold is encoded.

    Raises:
        ValueError: it is none.
    """
    parts = _PARTS.fullmatch(text)
    if is_uri_reference(text) or parts is None:
        return URL(text, encoded=is_uri_reference(text))
    scheme, user, host, rest = parts.groups(default="")
    return URL(f"{scheme}{_encoded(user)}{_ascii_host(host)}{_encoded(rest)}", encoded=True)


def _encoded(text: str) -> str:
    return "".join(char if is_uri_reference(char) else quote(char) for char in text)


def _ascii_host(host: str) -> str:
    """A host, perhaps with its port, as name servers know it."""
    if host.isascii():
        return host
    name, colon, port = host.partition(":")
    return f"{URL.build(scheme='http', host=name).raw_host}{colon}{port}"


def is_uri_reference(text: str) -> bool:
    """Whether `text` has only characters that a URI may have."""
    return _SAYABLE.fullmatch(text) is not None


def check_url(text: str) -> None:
    """Refuse what is not an HTTP URL, without repeating it: it may hold a token.

    Raises:
        OptionError: what is wrong with it.
    """
    try:
        url = parse_url(text)
    except ValueError:
        raise OptionError("this is not a URL", _EXAMPLE) from None
    try:
        _ = url.port
    except ValueError:
        raise OptionError("there is no such port", "ports are numbers from 1 to 65535") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise OptionError("this is not an HTTP URL", _EXAMPLE)
    try:
        url.host.encode("idna")
    except UnicodeError:
        raise OptionError("its host is no name: a part of it is empty or too long", _EXAMPLE) from None
    if re.search(r"\s", url.host):
        raise OptionError("its host is no name: there is a space in it", _EXAMPLE)


def without_user(text: str) -> str:
    """The URL without user and password; for one that is a template."""
    return _PARTS.sub(r"\1\3\4", text)


def check_template(text: str) -> None:
    """Refuse a URL whose host would depend on the event.

    Raises:
        ValueError: it would; or the template is wrong.
    """
    if not has_tag(text):
        return
    parts = _PARTS.fullmatch(text)
    if parts is None or has_tag("".join(filter(None, parts.group(1, 2, 3)))):
        raise OptionError("only what follows the host may be a template", "write the host out")
    Template(text, "url")


def origin_of(text: str) -> str:
    """Scheme, host and port: all that may be shown, since many services put a token into the path."""
    url = parse_url(text)
    return str(url.origin()) + ("/..." if url.raw_path_qs not in ("", "/") else "")
