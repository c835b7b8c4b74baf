"""What should come again and again: `absences`. Told when nothing came for a time, and when it is back."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tdbwatch.daemon.config.models.holds import Absence
from tdbwatch.daemon.config.models.rules import Rule
from tdbwatch.daemon.holding.state import NEVER, ONLY_PART, Route, State, Told, times
from tdbwatch.daemon.intake.causes import Silence
from tdbwatch.daemon.spool.stored.blocks import NOWHERE, Lane
from tdbwatch.plugin import Kind

_SAVED_EVERY_US: Final = 1_000_000


class _Known(msgspec.Struct, array_like=True):
    """
    Attributes:
        last_us: when it was heard last, or since when it is waited for.
        deaf_us: until when events may have been missed, as far as is known.
        cause, reason: why.
        told: whether its absence was told; then `heard` is what was said last.
        since_us, back_us: then when it was heard last before, and first after; 0: not yet.
    """

    last_us: int
    deaf_us: int = 0
    cause: str = ""
    reason: str = ""
    told: bool = False
    heard: bool = True
    since_us: int = 0
    back_us: int = 0


_decode = msgspec.msgpack.Decoder(_Known).decode


class Awaited(State):
    """What one absence waits for: it is never over, and goes with its absence.

    Args:
        rooms: as of `Holding`.
        packed: as `parts` had it; None: it is waited for from `now_us` on.

    Raises:
        msgspec.MsgspecError: it is damaged.
    """

    def __init__(
        self,
        route: Route,
        rooms: Callable[[], Mapping[Lane, Silence | None]],
        now_us: int,
        packed: bytes | None = None,
    ) -> None:
        super().__init__(route)
        self._rooms = rooms
        self._known = _Known(now_us) if packed is None else _decode(packed)
        self._saved_us = self._known.last_us
        self.set_back(now_us)

    @property
    def _rule(self) -> Rule:
        assert self.route.rule is not None, "it is there as long as its absence"
        return self.route.rule

    @property
    def _hold(self) -> Absence:
        assert isinstance(self._rule.hold, Absence), "it is one of an absence"
        return self._rule.hold

    @property
    def shown(self) -> tuple[str, int | None, bool]:
        """Its name; since when nothing has come, where that was told; and whether all was heard that came."""
        known = self._known
        return self._hold.name, known.since_us if known.told and not known.back_us else None, known.heard

    def is_about(self, lane: Lane) -> bool:
        """Whether what it waits for may come from this room."""
        return any(self._rule.admits(kind, *lane) for kind in self._rule.kinds)

    def came(self, us: int) -> bool:
        """It was heard; whether that must be remembered now: it need not be to the microsecond."""
        known, known.last_us = self._known, us
        if known.told:
            known.back_us = known.back_us or us
        return known.told or us >= self._saved_us

    def missed(self, cause: str, reason: str, until_us: int) -> None:
        """Events may have been missed until then."""
        known = self._known
        if until_us > max(known.last_us, known.deaf_us):
            known.deaf_us, known.cause, known.reason = until_us, cause, reason

    @property
    def due_us(self) -> int:
        known = self._known
        if not known.told:
            return known.last_us + self._hold.after_us
        return 0 if known.back_us else NEVER if known.heard else self._sure_us

    def tell(self, now_us: int) -> Told | None:
        """It is told when it is due, whoever is deaf; and again when it is sure, if it was not."""
        known = self._known
        rooms = {lane: silence for lane, silence in self._rooms().items() if self.is_about(lane)}
        if known.back_us:
            self._known = _Known(known.last_us)
            return self._told(known, rooms, known.back_us)
        if (silence := next(filter(None, rooms.values()), None)) is not None:
            self.missed(silence.cause.value, silence.reason, now_us)
        sure, again = self._sure_us <= now_us, known.told
        known.told, known.heard, known.since_us = True, sure, known.last_us
        return None if again and not sure else self._told(known, rooms, None, now_us)

    @property
    def _sure_us(self) -> int:
        """When nothing will have come for so long while all was heard."""
        return max(self._known.last_us, self._known.deaf_us) + self._hold.after_us

    def _told(
        self, known: _Known, rooms: Mapping[Lane, object], until_us: int | None, now_us: int = 0
    ) -> Told:
        details = {
            "name": self._hold.name,
            "over": until_us is not None,
            **times(known.since_us, until_us),
            "seconds": round(((until_us or now_us) - known.since_us) / 1e6, 3),
            "heard": known.heard,
            "cause": None if known.heard else known.cause,
            "reason": None if known.heard else known.reason,
        }
        lane = next(iter(rooms)) if len(rooms) == 1 else NOWHERE
        return Told(Kind.ABSENCE, self._hold.name, lane, details, tuple(sorted(self._rule.to)))

    @property
    def is_over(self) -> bool:
        return False

    def set_back(self, now_us: int) -> None:
        known = self._known
        for name in ("last_us", "deaf_us", "since_us", "back_us"):
            setattr(known, name, min(getattr(known, name), now_us))
        self._saved_us = min(self._saved_us, now_us)

    def parts(self) -> Mapping[int, bytes]:
        """The last time, or somewhat later: after a kill it is never told too early."""
        known = self._known
        saved = known
        if not known.told:
            self._saved_us = known.last_us + _SAVED_EVERY_US
            saved = msgspec.structs.replace(known, last_us=self._saved_us)
        return {ONLY_PART: msgspec.msgpack.encode(saved)}

    def whole(self) -> Mapping[int, bytes]:
        return {ONLY_PART: msgspec.msgpack.encode(self._known)}
