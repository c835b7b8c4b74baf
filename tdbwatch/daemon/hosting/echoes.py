"""What sinks emit and the daemon hears again: so that no sink reacts to itself without end.

An event of a room has a name and arguments, and no place for more. So the daemon remembers for a while what
it emits for sinks, and an event that fits is marked with its *hops*: how many such emits led to it. The mark
goes into the log with the event. What another program emits, and what code in ThingsDB emits that a sink has
run, cannot be told apart from any other event.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.stored.blocks import Lane, Run, part_of
from tdbwatch.wire.codec import BodyError, decode_leniently, encode
from tdbwatch.wire.names import is_room_name
from tdbwatch.wire.scopes import short

if TYPE_CHECKING:
    from tdbwatch.client.rooms.subscriptions import Subscription

REMEMBERED: Final = 60.0
"""Seconds for which an emit is remembered."""
MOST: Final = 10_000
"""Emits that are remembered; the oldest go first."""


Key = tuple[str, str, bytes, int | str | None]
"""Scope, name and arguments of an event, and the room's id or name; None: some room that is known by name."""


class Sent:
    """An emit of a sink."""

    __slots__ = ("hops", "keys", "name", "scope", "until")

    def __init__(self, scope: str, room: int | str, name: str, args: list[Any], hops: int) -> None:
        self.scope = short(scope)
        self.name = name
        self.hops = hops
        self.until = 0.0
        """Until when it is remembered, by the monotonic clock."""
        rooms = (room,) if isinstance(room, int) else (room, None)
        self.keys: list[Key] = [(self.scope, name, _digest(encode(args)), one) for one in rooms]


class _Alike:
    """Emits that look the same, oldest first. Each lane hears each of them once."""

    def __init__(self) -> None:
        self.sent: deque[Sent] = deque()
        self.gone = 0
        self._heard: dict[Lane, int] = {}

    def heard(self, lane: Lane, now: float) -> int:
        """The hops of the first one that this lane has not heard; 0: there is none."""
        number = max(self._heard.get(lane, 0), self.gone)
        while number < self.gone + len(self.sent):
            sent = self.sent[number - self.gone]
            number += 1
            self._heard[lane] = number
            if sent.until > now:
                return sent.hops
        return 0


class Echoes:
    """The emits of sinks that may be heard soon. For the daemon's loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: deque[Sent] = deque()
        self._alike: defaultdict[Key, _Alike] = defaultdict(_Alike)
        self._names: Counter[tuple[str, str]] = Counter()

    def expect(self, sent: Sent) -> None:
        """It is emitted now."""
        now = self._clock.monotonic()
        while self._sent and (self._sent[0].until <= now or len(self._sent) >= MOST):
            self._drop_oldest()
        sent.until = now + REMEMBERED
        self._sent.append(sent)
        self._names[sent.scope, sent.name] += 1
        for key in sent.keys:
            self._alike[key].sent.append(sent)

    def forget(self, sent: Sent) -> None:
        """It was certainly not emitted."""
        sent.until = 0.0

    def marked(self, lane: Lane, room: "Subscription", run: Run) -> Sequence[Run]:
        """The run in parts that have the same number of hops."""
        if not self._names or not any((lane.scope, name) in self._names for name in set(run.events)):
            return (run,)
        by_name = isinstance(room.key, str) and is_room_name(room.key)
        rooms = (room.id, room.key if by_name else None)
        heard = zip(run.events, run.payloads, strict=True)
        hops = [self._hops_of(lane, rooms, name, payload) for name, payload in heard]
        return list(_parts(run, hops)) if any(hops) else (run,)

    def _hops_of(
        self, lane: Lane, rooms: tuple[int | str | None, ...], name: str, payload: msgspec.Raw
    ) -> int:
        if (lane.scope, name) not in self._names:
            return 0
        now, digest = self._clock.monotonic(), _digest(bytes(payload))
        for room in rooms:
            alike = self._alike.get((lane.scope, name, digest, room))
            if alike is not None and (hops := alike.heard(lane, now)):
                return hops
        return 0

    def _drop_oldest(self) -> None:
        sent = self._sent.popleft()
        self._names[sent.scope, sent.name] -= 1
        if not self._names[sent.scope, sent.name]:
            del self._names[sent.scope, sent.name]
        for key in sent.keys:
            alike = self._alike[key]
            alike.sent.popleft()
            alike.gone += 1
            if not alike.sent:
                del self._alike[key]


def _parts(run: Run, hops: Sequence[int]) -> Iterator[Run]:
    start = 0
    for count, same in groupby(hops):
        stop = start + sum(1 for _ in same)
        yield part_of(run, start, stop, hops=count)
        start = stop


def _digest(payload: bytes) -> bytes:
    """The same for the same arguments, in whatever order the server has put the keys of maps."""
    with suppress(BodyError, TypeError, ValueError, RecursionError):
        payload = msgspec.msgpack.encode(decode_leniently(payload), order="deterministic")
    return blake2b(payload, digest_size=16).digest()
