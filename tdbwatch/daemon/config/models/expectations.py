"""The section `tests`: events that are given, and what sinks are to get of them. The daemon ignores it."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from tdbwatch.daemon.config.models.fields import Scope, Section, Text
from tdbwatch.daemon.config.problems import RefusedError, suggestion
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.exceptions import EncodeError
from tdbwatch.plugin import Duration, Kind
from tdbwatch.wire.codec import encode

if TYPE_CHECKING:
    from tdbwatch.daemon.config.models.thingsdb import RoomConfig

Expected = Annotated[int, Field(ge=0)] | Literal["any"] | tuple[dict[str, Any], ...]
"""How many records a sink gets; `any`; or which, in order: as much of each as is said."""


def _time(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise RefusedError("this is not a time with its zone", "write for instance 2026-11-23T07:24:00Z")
    return found


class GivenConfig(Section):
    """One event, or a record of another kind."""

    room: Text | None = None
    """The room that it is heard in, by its name in records; nodes and sinks have none."""
    scope: Scope | None = None
    """The room's collection, where several have a room of this name."""
    event: str = ""
    """The event's name."""
    args: tuple[Any, ...] = ()
    """Its arguments."""
    kind: Kind = Field(default=Kind.EVENT, strict=False)
    """Its kind."""
    details: dict[str, Any] = Field(default_factory=dict)
    """What a record of another kind carries."""
    after: Duration = 0.0
    """Seconds since the one before, for routes that remember; alone: so long nothing comes."""
    time: Annotated[datetime, BeforeValidator(_time)] | None = None
    """When it is received; default: now."""

    @property
    def is_pause(self) -> bool:
        """Whether nothing comes."""
        return self.model_fields_set == {"after"}


class ExpectationConfig(Section):
    """One test of the routes."""

    name: Text
    """What it shows."""
    given: tuple[GivenConfig, ...] = Field(min_length=1)
    """The events, in order."""
    expect: dict[str, Expected]
    """What each sink gets. One that is not named must get nothing."""


def room_of(given: GivenConfig, rooms: Iterable["RoomConfig"]) -> "RoomConfig | None":
    """The configured room that it is heard in, if there is one."""
    return next(
        (room for room in rooms if room.record_name == given.room and given.scope in {None, room.scope}),
        None,
    )


def check_expectations(tree: Tree, tests: Iterable[ExpectationConfig], rooms: Iterable["RoomConfig"]) -> None:
    """Refuse rooms and sinks that are not configured, and events that ThingsDB could not carry."""
    rooms, sinks = tuple(rooms), tree.data.get("sinks")
    known = sinks if isinstance(sinks, dict) else {}
    for index, test in enumerate(tests):
        for position, given in enumerate(test.given):
            path = ("tests", index, "given", position, "room")
            if given.room is None and not given.is_pause and given.kind not in _ROOMLESS:
                tree.complain(path, "is missing", "say in which room it is heard", at_key=True)
            elif given.room is not None and room_of(given, rooms) is None:
                names = [room.record_name for room in rooms]
                tree.complain(
                    path, "no room that is watched has this name", suggestion(given.room, names, _ROOMS)
                )
            try:
                encode([given.event, given.args, given.details])
            except EncodeError as error:
                hint = "write what an event can have; integers have 64 bits"
                tree.complain(("tests", index, "given", position), f"{error}", hint)
        for sink in test.expect:
            if sink not in known:
                hint = suggestion(sink, known, "the sinks are")
                tree.complain(
                    ("tests", index, "expect", sink), "there is no sink of this name", hint, at_key=True
                )


_ROOMLESS: Final = frozenset({Kind.NODE, Kind.SINK, Kind.ABSENCE})
_ROOMS: Final = "the rooms are"
