"""Signatures by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): `v1` is HMAC, `v1a` ed25519."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable
from typing import Final

from tdbwatch.plugin import OptionError

Signer = Callable[[bytes], str]
"""Makes one signature, with its version, of exactly these bytes."""

_SYMMETRIC: Final = "whsec_"
_PRIVATE: Final = "whsk_"
_PUBLIC: Final = "whpk_"
_SEED: Final = 32
"""Bytes of an ed25519 key; some write the public one behind it."""


def signer_of(secret: str) -> Signer:
    """What signs with a secret: ed25519 with `whsk_` and base64, HMAC with `whsec_` and base64 or any text.

    Raises:
        OptionError: no key is in it, or nothing here can sign with it. The message does not repeat it.
    """
    if secret.startswith(_PUBLIC):
        raise OptionError("this is a public key, which the receiver needs", "give the private one, whsk_...")
    if secret.startswith(_PRIVATE):
        return _ed25519(_decoded(secret.removeprefix(_PRIVATE)))
    key = _decoded(secret.removeprefix(_SYMMETRIC)) if secret.startswith(_SYMMETRIC) else secret.encode()
    if not key:
        raise OptionError("the secret is empty", "give the key that the receiver has")
    return lambda signed: f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def sign(signers: Iterable[Signer], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each key, over exactly these bytes."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(signer(signed) for signer in signers)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise OptionError("what follows the prefix is not base64", "give the key as it was issued") from None


def _ed25519(key: bytes) -> Signer:
    if len(key) not in (_SEED, 2 * _SEED):
        raise OptionError(
            f"an ed25519 key has {_SEED} bytes; this one has {len(key)}", "give it whole, as base64"
        )
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        needed = "ed25519 needs the package cryptography: pip install 'tdbwatch[ed25519]'"
        raise OptionError(needed) from None
    private = Ed25519PrivateKey.from_private_bytes(key[:_SEED])
    return lambda signed: f"v1a,{base64.b64encode(private.sign(signed)).decode()}"
