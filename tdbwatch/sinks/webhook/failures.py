"""What is said of a connection that fails. Pure."""

import os
import socket
from typing import Final

import aiohttp

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""OpenSSL's reasons for an answer that is no TLS."""


def why(error: Exception) -> str:
    """Why there is no answer, without the host and the address in memory that aiohttp adds."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"its certificate is refused: {getattr(cause, 'verify_message', '') or cause}".rstrip(".")
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = str(getattr(error.os_error, "reason", None) or error.os_error)
        hint = "; it speaks no TLS there, so perhaps http:// is meant" if reason in _NO_TLS else ""
        return f"TLS fails: {reason.replace('_', ' ').lower()}{hint}"
    if isinstance(error, aiohttp.ClientConnectorError):
        whom = " to the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        return f"cannot connect{whom}: {_of_the_system(error.os_error)}"
    if type(error) is aiohttp.ClientResponseError:  # its status is made up: there was none
        return f"what came back is not HTTP: {error.message.partition(chr(10))[0].rstrip(':')}"
    return f"{type(error).__name__}: {error}"


def _of_the_system(error: OSError) -> str:
    """In the system's words; asyncio's name the address instead of the reason."""
    if isinstance(error, socket.gaierror) or not error.errno or error.errno < 0:
        return error.strerror or str(error)
    return os.strerror(error.errno)
