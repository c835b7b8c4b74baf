"""Events that are looked at together: made once somebody asks, rendered at a fraction of the cost of each."""

from collections.abc import Iterator, MutableSequence, Sequence
from itertools import chain
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import force_setattr

from tdbwatch.plugin.event import EVENT, Event, Header, middle_of
from tdbwatch.plugin.jsonable import each_as_json

_TOGETHER: Final = 256
_TOGETHER_BYTES: Final = 1 << 18
"""Events that are rendered together, at most, and their payloads: decoding makes far more of them."""


class Part(Protocol):
    """Some events in a row of a batch, and what some sinks need instead of them."""

    @property
    def count(self) -> int: ...
    @property
    def events(self) -> Sequence[Event]: ...
    @property
    def lines(self) -> Sequence[bytes]:
        """What `Event.json` says of each."""

    @property
    def headers(self) -> Sequence[Header | Event]: ...


class Batch(MutableSequence[Event]):
    """Events that a sink is given together: its own to change. They are made once it looks at one of them."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._made: list[Event] | None = None

    @property
    def events(self) -> list[Event]:
        if self._made is None:
            self._made = list(chain.from_iterable([part.events for part in self._parts]))
        return self._made

    def json_lines(self) -> list[bytes]:
        """What `Event.json` says of each."""
        if self._made is not None:
            return json_lines(self._made)
        return list(chain.from_iterable([part.lines for part in self._parts]))

    def headers(self) -> Sequence[Header | Event]:
        """The header of each, or the event itself, where it is made."""
        if self._made is not None:
            return self._made
        return list(chain.from_iterable([part.headers for part in self._parts]))

    def __len__(self) -> int:
        return sum([part.count for part in self._parts]) if self._made is None else len(self._made)

    def __getitem__(self, index: Any) -> Any:
        return self.events[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.events[index] = value

    def __delitem__(self, index: Any) -> None:
        del self.events[index]

    def insert(self, index: int, value: Event) -> None:
        self.events.insert(index, value)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.events == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.events)


def headers(events: Sequence[Event]) -> Sequence[Header | Event]:
    """What each of these says beside its id and its arguments, without making them where they are not."""
    return events.headers() if isinstance(events, Batch) else events


def json_lines(events: Sequence[Event]) -> list[bytes]:
    """`Event.json` of each of these, at a fraction of the cost where they are many."""
    if isinstance(events, Batch):
        return events.json_lines()
    plain = [one for one in events if one.rendered is None and _is_plain(one.kind, one.arg_names)]
    plain = [one for one in plain if not (one.packed_fields or one.hops)]
    if len(plain) > 1:
        _render_together(plain)
    return [event.rendered or event.json() for event in events]


def _render_together(events: Sequence[Event]) -> None:
    """Render those of these plain events that need no care: the others are left as they are."""
    last, middle, middles = None, "", list[str | None]()
    try:
        for event in events:
            shared = (event.received_us, event.scope, event.room, event.room_id, event.event)
            if shared != last:
                last, middle = shared, middle_of(*shared)
            middles.append(middle)
    except (TypeError, ValueError):  # names that are not Unicode
        return
    lines = lines_of([event.id for event in events], middles, [event.payload for event in events])
    for event, line in zip(events, lines, strict=True):
        if line is not None:
            force_setattr(event, "rendered", line)


def middles_of(
    kind: str,
    received_us: int,
    scope: str,
    room: str,
    room_id: int | None,
    arg_names: Sequence[str],
    names: Sequence[str],
) -> Sequence[str | None]:
    """Of events that share all but their names, what `lines_of` wants; None: one needs care."""
    if not _is_plain(kind, arg_names):
        return [None] * len(names)
    try:
        middles = {name: middle_of(received_us, scope, room, room_id, name) for name in set(names)}
    except (TypeError, ValueError):  # names that are not Unicode
        return [None] * len(names)
    return [middles[name] for name in names]


def _is_plain(kind: str, arg_names: Sequence[str]) -> bool:
    """Whether a record has only what is put together from pieces (unless it has fields). Nearly all have."""
    return kind == EVENT and not arg_names


def lines_of(
    ids: Sequence[str], middles: Sequence[str | None], payloads: Sequence[bytes | msgspec.Raw]
) -> list[bytes | None]:
    """What `Event.json` would say of events, without making them.

    None: it needs care, or is too large to be decoded in company; or one of its neighbours.

    Args:
        middles: of each what stands between its id and its arguments; None: it needs care.
    """
    lines: list[bytes | None] = []
    for start in range(0, len(ids), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        if None in middles[part] or sum(map(len, payloads[part])) > _TOGETHER_BYTES:
            lines += [None] * len(ids[part])
            continue
        lines += [
            None if args is None else f'{{"id":"{event_id}{middle}{args}}}'.encode()
            for event_id, middle, args in zip(
                ids[part], middles[part], each_as_json(payloads[part]), strict=True
            )
        ]
    return lines
