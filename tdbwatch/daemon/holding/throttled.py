"""So many events in a time: `throttle` and `dedupe`. What is held back is counted, and told once a window."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tdbwatch.daemon.config.models.holds import Throttle
from tdbwatch.daemon.holding.state import NEVER, ONLY_PART, Route, State, Told, times
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin import Event, Kind


class _Known(msgspec.Struct, array_like=True):
    """
    Attributes:
        passed: when events were let through, within the time that counts.
        count: events held back that were not told of yet.
        since_us, until_us: when the first and the last of these was heard.
        scope, room: of the last of these.
    """

    passed: list[int]
    count: int = 0
    since_us: int = 0
    until_us: int = 0
    scope: str = ""
    room: str = ""


_decode = msgspec.msgpack.Decoder(_Known).decode


class Throttled(State):
    """One state of a throttle.

    Args:
        route: may be gone.
        packed: as `parts` had it.

    Raises:
        msgspec.MsgspecError: it is damaged.
    """

    def __init__(self, route: Route, key: str, packed: bytes | None = None) -> None:
        self._key = key
        super().__init__(route)
        self._known = _Known([]) if packed is None else _decode(packed)

    @property
    def _hold(self) -> Throttle | None:
        rule = self.route.rule
        return rule.hold if rule is not None and isinstance(rule.hold, Throttle) else None

    def hear(self, event: Event, _: Mapping[str, Any]) -> bool:
        """One more came; whether the route lets it through."""
        hold = self._hold
        assert hold is not None, "the route is there"
        now_us, known = event.received_us, self._known
        self._forget(now_us)
        if len(known.passed) < hold.count:
            known.passed.append(now_us)
            return True
        known.since_us = known.since_us or now_us
        known.count, known.until_us = known.count + 1, now_us
        known.scope, known.room = event.scope, event.room
        return False

    @property
    def due_us(self) -> int:
        known, hold = self._known, self._hold
        if hold is None or not (known.count or known.passed):
            return 0
        return (known.since_us if known.count else known.passed[-1]) + hold.per_us

    def tell(self, now_us: int) -> Told | None:
        known = self._known
        self._forget(now_us)
        if not known.count:
            return None
        details = {
            "route": self.path or None,
            "key": self._key,
            "count": known.count,
            **times(known.since_us, known.until_us),
        }
        known.count = known.since_us = 0
        return Told(Kind.SUPPRESSED, "suppressed", Lane(known.scope, known.room), details)

    @property
    def is_over(self) -> bool:
        return not self._known.passed and not self._known.count

    def set_back(self, now_us: int) -> None:
        known = self._known
        known.since_us, known.until_us = min(known.since_us, now_us), min(known.until_us, now_us)
        self._forget(now_us)

    def parts(self) -> Mapping[int, bytes]:
        return {ONLY_PART: msgspec.msgpack.encode(self._known)}

    def _forget(self, now_us: int) -> None:
        """What lies in the future was written before the clock was set back."""
        hold = self._hold
        passed, per_us = self._known.passed, NEVER if hold is None else hold.per_us
        if passed and not now_us - per_us < passed[0] <= passed[-1] <= now_us + per_us:
            self._known.passed = [us for us in passed if now_us - per_us < us <= now_us + per_us]
