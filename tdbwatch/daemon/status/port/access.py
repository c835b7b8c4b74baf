"""Who may ask the status server: with `http.token` whoever shows it, else everybody. Pure.

Programs send it as `Authorization: Bearer TOKEN`. Browsers ask their user for a name and a password (HTTP
Basic, RFC 7617): the token is the password, under whatever name.
"""

import base64
import binascii
from collections.abc import Iterable
from hmac import compare_digest
from typing import Final

from pydantic import SecretStr

CHALLENGE: Final = 'Basic realm="tdbwatch", charset="UTF-8", Bearer realm="tdbwatch"'
"""What a refusal asks for. Basic comes first: of browsers some look at no other."""
OPEN: Final = frozenset({"/healthz", "/readyz"})
"""What is answered to everybody, in few words: probes of systemd and Kubernetes have no token."""


def shows(token: SecretStr | None, headers: Iterable[str]) -> bool:
    """Whether a request with these `Authorization` headers knows the token, or there is none to be known.

    Takes equally long whatever is wrong with what was sent.
    """
    if token is None:
        return True
    said = [_said(header) for header in headers]
    return len(said) == 1 and compare_digest(said[0], token.get_secret_value().encode())


def _said(header: str) -> bytes:
    """The token that a header has; empty: none."""
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value.encode(errors="surrogateescape")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
