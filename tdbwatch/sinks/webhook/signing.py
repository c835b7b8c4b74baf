"""Signatures by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com)."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_ASYMMETRIC: Final = ("whsk_", "whpk_")


def key_of(secret: str) -> bytes:
    """The key's bytes: base64 behind `whsec_`, else the text itself.

    Raises:
        ValueError: no key is in it. The message does not repeat it.
    """
    if secret.startswith(_ASYMMETRIC):
        raise ValueError("this is an asymmetric key; give a symmetric one, whsec_...")
    if not secret.startswith(_PREFIX):
        key = secret.encode()
    else:
        encoded = secret.removeprefix(_PREFIX)
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            raise ValueError("what follows the prefix is not base64") from None
    if not key:
        raise ValueError("the secret is empty")
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each key, over exactly these bytes."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, "sha256") for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
