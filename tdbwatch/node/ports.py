"""The TCP ports of a node, kept for it while it is down."""

import asyncio
import socket


class HeldPorts:
    """A socket that is bound and never listens, for each address that a node has listened on.

    Without it the system may give the port of a node that is down to any other program, or to an outgoing
    connection, and the node could not come back. A caller is refused meanwhile, as by a machine without the
    node. Where the system binds an address only once (BSD, macOS), ports are not kept.
    """

    def __init__(self) -> None:
        self._held: dict[object, socket.socket] = {}

    def hold(self, server: asyncio.Server) -> None:
        """Keep the ports of a server that is bound, but does not listen yet."""
        for bound in server.sockets:
            address = bound.getsockname()
            if address in self._held:
                continue
            keeper = socket.socket(bound.family, bound.type)
            try:
                keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if bound.family == socket.AF_INET6:
                    keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                keeper.bind(address)
            except OSError:
                keeper.close()
            else:
                self._held[address] = keeper

    def release(self) -> None:
        """Let the system give the ports to others again."""
        for keeper in self._held.values():
            keeper.close()
        self._held.clear()
