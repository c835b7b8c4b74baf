"""What a program can watch of a client, beside its rooms."""

from tdbwatch.client.addresses import Address
from tdbwatch.wire import NodeStatus, Push, Warn


class Observer:
    """Told what happens to a client's connections. Override what is of interest; nothing may block here."""

    def connected(self, address: Address) -> None:
        """A link is authenticated, and has tried to join every room once."""

    def disconnected(self, address: Address, reason: str) -> None:
        """A link ended. Another one is being made, unless the client was closed."""

    def unreachable(self, address: Address, reason: str, wait: float) -> None:
        """An attempt to connect failed; the node is not tried again for `wait` seconds."""

    def refused(self, address: Address, reason: str, wait: float, *, by_all: bool) -> None:  # noqa: ARG002
        """As `unreachable`, but it is there and refuses the login; `by_all`: so does every other that is."""
        self.unreachable(address, reason, wait)

    def recovered(self, address: Address) -> None:
        """A node that was in trouble takes the login again. It is not needed, so no link is kept."""

    def node_status(self, address: Address, node_id: int, status: str) -> None:
        """A node said how it is: `AWAY_SOON`, `AWAY`, `READY`, `SHUTTING_DOWN`, `OFFLINE`, ..."""

    def warning(self, address: Address, code: int, message: str) -> None:
        """A node sent a warning."""

    def emit_lost(self, address: Address) -> None:
        """An event came that does not decode, and not even its room can be told."""


def report_push(observer: Observer, address: Address, push: Push) -> None:
    """Tell the observer of pushes that are about a node."""
    if isinstance(push, NodeStatus):
        observer.node_status(address, push.id, push.status)
    elif isinstance(push, Warn):
        observer.warning(address, push.warn_code, push.warn_msg)
