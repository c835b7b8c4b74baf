"""Events collected for one record: `group`. What was collected is remembered whole, event by event."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tdbwatch.daemon.config.models.holds import Group
from tdbwatch.daemon.holding.state import Route, State, Told, times
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin import Event, Kind

MOST_BYTES: Final = 1 << 17
"""Bytes of one group, roughly, with which it is told; a larger event goes through by itself."""
MOST_LEVELS: Final = 100
"""Lists and maps within each other; an event with more goes through by itself: nobody shall fail to read the
record of the others for it."""
MEMBER_BYTES: Final = 300
"""What a member takes in memory beside its bytes, roughly."""


class _Member(msgspec.Struct, array_like=True, eq=False):
    """
    Attributes:
        us: when it was heard.
        to: the sinks of the route then: where it goes should the route be gone.
        record: as sinks would have got it.
    """

    us: int
    to: tuple[str, ...]
    record: dict[str, Any]


_decode = msgspec.msgpack.Decoder(_Member).decode


class Grouped(State):
    """One group: it is over once it was told.

    Args:
        route: may be gone.
        first_part: a number greater than those of all parts of groups before.
        packed: as `parts` had it, in order.

    Attributes:
        size: bytes that it takes in memory, roughly.

    Raises:
        msgspec.MsgspecError: it is damaged.
    """

    def __init__(
        self, route: Route, key: str, first_part: int, packed: Iterable[tuple[int, bytes]] = ()
    ) -> None:
        self._key = key
        super().__init__(route)
        self._members: dict[int, bytes] = {}
        self.last_part = self._saved_part = first_part - 1
        self._since_us = self._until_us = 0
        for part, one in packed:
            self._add(part, one, _decode(one).us)
        self._saved_part = self.last_part

    def hear(self, event: Event, fields: Mapping[str, Any]) -> bool:
        """One more came; whether the route lets it through by itself."""
        rule = self.route.rule
        assert rule is not None, "the route is there"
        shown = event.with_fields(fields) if fields else event
        record = msgspec.json.decode(shown.json())
        if _levels(record) > MOST_LEVELS:
            return True
        packed = msgspec.msgpack.encode(_Member(event.received_us, tuple(sorted(rule.to)), record))
        if len(packed) > MOST_BYTES:
            return True
        self._add(self.last_part + 1, packed, event.received_us)
        return False

    @property
    def due_us(self) -> int:
        rule = self.route.rule
        hold = rule.hold if rule is not None and isinstance(rule.hold, Group) else None
        if hold is None or len(self._members) >= hold.most or self.size >= MOST_BYTES:
            return 0
        return self._since_us + hold.wait_us

    def tell(self, _: int) -> Told | None:
        if not self._members:
            return None
        members = list(map(_decode, self._members.values()))
        records = [member.record for member in members]
        details = {
            "route": self.path or None,
            "key": self._key,
            "count": len(records),
            **times(self._since_us, self._until_us),
            "members": records,
        }
        lane = Lane(records[-1]["scope"], records[-1]["room"])
        rule = self.route.rule
        to = members[-1].to if rule is None else tuple(sorted(rule.to))
        self._members = {}
        return Told(Kind.GROUP, "group", lane, details, to, _common(records))

    @property
    def is_over(self) -> bool:
        return not self._members

    def set_back(self, now_us: int) -> None:
        self._since_us, self._until_us = min(self._since_us, now_us), min(self._until_us, now_us)

    def parts(self) -> Mapping[int, bytes]:
        new = range(self._saved_part + 1, self.last_part + 1)
        self._saved_part = self.last_part
        return {part: self._members[part] for part in new if part in self._members}

    def whole(self) -> Mapping[int, bytes]:
        return self._members

    def _add(self, part: int, packed: bytes, us: int) -> None:
        if not self._members:
            self._since_us = us
        self._until_us = us
        self._members[part] = packed
        self.last_part = part
        self.size += len(packed) + MEMBER_BYTES


def _levels(value: Any) -> int:
    levels, inner = 0, [value]
    while inner := [item for item in inner if isinstance(item, list | dict)]:
        levels += 1
        inner = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
    return levels


def _common(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields in which all of them agree."""
    first, *others = (record.get("fields", {}) for record in records)
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }
