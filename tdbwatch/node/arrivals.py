"""Emits of other nodes on their way to this one, while the fault switch `lag` holds them up."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tdbwatch.node.rooms import Room, RoomPush
from tdbwatch.wire import Kind

if TYPE_CHECKING:
    from tdbwatch.node.node import Node

LIMIT: Final = 100_000
"""Emits of one node that may be under way at a time; what comes beyond is lost, as the oldest."""


class _Late(NamedTuple):
    """An emit, and when it arrives."""

    due: float
    room: Room
    event: str
    args: Sequence[Any]


class Arrivals:
    """One queue for each emitting node: order is kept within it, and not between two of them.

    An emit meets whoever listens when it arrives. So a client that joins may hear what was emitted before its
    join, and its answer to JOIN comes before the emits that other nodes pass on to it late: as on real nodes.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._under_way: dict[Node, deque[_Late]] = {}

    def holds_up(self, origin: "Node") -> bool:
        """Whether an emit of that node comes later than at once."""
        return self._node.faults.lag != 0.0 or origin in self._under_way

    def expect(self, origin: "Node", room: Room, event: str, args: Sequence[Any]) -> None:
        """Take an emit of another node, to be passed on when it is due."""
        lag = self._node.faults.lag
        due = self._node.clock.monotonic() + (lag() if callable(lag) else lag)
        queue = self._under_way.get(origin)
        if queue is None:
            queue = self._under_way[origin] = deque(maxlen=LIMIT)
            self._node.spawn(self._arrive(origin, queue), f"emits of node {origin.id}")
        queue.append(_Late(due, room, event, args))

    def forget(self) -> None:
        """The node stopped: what was on its way to it is lost."""
        self._under_way.clear()

    async def _arrive(self, origin: "Node", queue: deque[_Late]) -> None:
        while queue:
            if (wait := queue[0].due - self._node.clock.monotonic()) > 0:
                await self._node.clock.sleep(wait)
                continue
            late = queue.popleft()
            push = RoomPush(Kind.ROOM_EMIT, late.room, event=late.event, args=late.args)
            self._node.pass_on(late.room, push)
        del self._under_way[origin]
