"""The ways to a node: TCP, UNIX socket and WebSocket, behind one small face.

Errors of sockets and of the WebSocket library are translated here, once: opening raises `OSError`, later a
reason is told.
"""

import asyncio
import ssl as ssl_module

from tdbwatch.client.addresses import Address
from tdbwatch.client.transports.base import Receiver, SslSetting, Wire
from tdbwatch.client.transports.dialing import dial
from tdbwatch.client.transports.socket import SocketWire
from tdbwatch.client.words import words
from tdbwatch.descriptors import reserve
from tdbwatch.redaction import presentable

__all__ = ["Receiver", "SslSetting", "Wire", "open_wire", "tls_context"]


async def tls_context(setting: SslSetting) -> ssl_module.SSLContext | None:
    """The context for a setting: True verifies certificates and host names; None and False mean no TLS."""
    if isinstance(setting, bool | None):
        return ssl_module.create_default_context() if setting else None
    return await setting() if callable(setting) else setting


async def open_wire(address: Address, receiver: Receiver, ssl: SslSetting = None, turn: int = 0) -> Wire:
    """Connect to a node.

    Args:
        turn: how often it failed before: of a name with several addresses, another one comes first.

    Raises:
        OSError: it cannot be reached, its certificate does not verify, or it is not a ThingsDB endpoint.
    """
    reserve.lend()
    if address.scheme == "unix":
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_unix_connection(lambda: SocketWire(receiver), address.path)
        return wire
    context = await tls_context(ssl)
    try:
        if address.is_websocket:
            from tdbwatch.client.transports.websocket import open_websocket  # its library loads when used

            return await open_websocket(address, receiver, context, turn)
        return await dial(lambda: SocketWire(receiver), address, context, turn)
    except ssl_module.SSLCertVerificationError as error:
        reason = (
            f"{address}: its certificate was refused: {presentable(error.verify_message) or words(error)}"
        )
        raise ssl_module.SSLCertVerificationError(error.errno, reason) from error
    except OSError as error:
        if str(error):
            raise
        raise type(error)(f"{words(error)} while it was being made") from error
