"""The configuration of routes and absences: what goes where, when, and how often."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from tdbwatch.daemon.config.models.fields import (
    Condition,
    FieldName,
    Globs,
    Listed,
    PositiveDuration,
    Section,
    Value,
    no_repeats,
)
from tdbwatch.daemon.config.problems import RefusedError
from tdbwatch.plugin import Kind

_ONE: Final = {"x-one": True}
_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
Kinds = Annotated[
    tuple[Annotated[Kind, Strict(False)], ...], Listed, Field(min_length=1, json_schema_extra=_ONE)
]
SinkNames = Annotated[tuple[str, ...], Listed, Field(json_schema_extra=_ONE)]


def _absence_name(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise RefusedError(
            "an absence's name may hold letters, digits, _ . and -, at most 64 of them", "rename it"
        )
    return value


def own_names(absences: "tuple[AbsenceConfig, ...]") -> "tuple[AbsenceConfig, ...]":
    no_repeats(tuple(absence.name for absence in absences))
    return absences


class PlaceConfig(Section):
    """Which records are meant, by their names: those that match every key that is given."""

    room: Globs | None = None
    """Globs over the room's name."""
    event: Globs | None = None
    """Globs over the event's name."""
    scope: Globs | None = None
    """Globs over the scope, such as `//ops*`."""
    kind: Kinds = (Kind.EVENT,)
    """`event`, or what tdbwatch says itself, such as `gap` or `absence`; or a list of them."""


class MatchConfig(PlaceConfig):
    """Which records a route takes: those that match every key that is given."""

    fields: dict[FieldName, Globs] = Field(default_factory=dict)
    """Globs over fields that routes before this one have set; `5` and `true` are matched as text."""


class ThrottleConfig(Section):
    """Lets so many events through in a time."""

    count: int = Field(ge=1, le=10_000)
    """How many."""
    per: PositiveDuration
    """In how many seconds."""
    key: Value | None = None
    """What events have in common that are counted together: a CEL expression; default: all of the route."""


class DedupeConfig(Section):
    """Lets one event through in a time."""

    window: PositiveDuration
    """Seconds for which further events with the same key are held back."""
    key: Value
    """What makes two events the same: a CEL expression."""


class GroupConfig(Section):
    """Collects events for a time, and makes one record of them."""

    key: Value | None = None
    """What events have in common that are collected together: a CEL expression; default: all of the route."""
    wait: PositiveDuration
    """Seconds from the first until the record is made."""
    max: int = Field(default=100, ge=2, le=1000)
    """Events with which it is made sooner."""


_MADE: Final = frozenset({Kind.SUPPRESSED, Kind.GROUP})
"""What routes that remember make themselves: none of them holds it back again, or that would never end."""


class RouteConfig(Section):
    """Sends what it matches to sinks. Routes are asked in order."""

    match: MatchConfig = MatchConfig()
    """What the route takes; default: every event."""
    where: Condition | None = None
    """What else must hold for the event: a CEL expression."""
    on_error: Literal["skip", "match"] = "skip"
    """What becomes of an event for which `where` has no value, such as where a key is missing."""
    set: dict[FieldName, Value] = Field(default_factory=dict)
    """Fields to add to what the route takes: a CEL expression each."""
    throttle: ThrottleConfig | None = None
    """Lets so many of the events through in a time; the others are held back, and counted."""
    dedupe: DedupeConfig | None = None
    """Lets one of equal events through in a time; the others are held back, and counted."""
    group: GroupConfig | None = None
    """Collects events for a time, and sends one record in place of them."""
    default: bool = False
    """Whether it takes only what no route before it, in the same list, took."""
    to: SinkNames = ()
    """The sinks that get it. May be empty with `stop: true`: then it is dropped."""
    routes: tuple["RouteConfig", ...] = ()
    """More routes, asked about what this one matched only."""
    stop: bool = False
    """Whether later routes are not asked about what this one matched."""

    @model_validator(mode="after")
    def _purpose(self) -> Self:
        self._refuse_odd_holds()
        if self.on_error == "match" and self.where is None:
            raise RefusedError("on_error is about `where`, and there is none", "remove on_error")
        if not (self.to or self.stop or self.set or self.routes):
            raise RefusedError(
                "a route to no sink does nothing",
                "name sinks; or add `stop: true` to drop what it matches, or `set` to add fields",
            )
        no_repeats(self.to)
        return self

    def _refuse_odd_holds(self) -> None:
        holds = [key for key in ("throttle", "dedupe", "group") if getattr(self, key) is not None]
        if len(holds) > 1:
            hint = "dedupe is a throttle with count: 1; to group what a throttle lets through is not possible"
            raise RefusedError(f"{' and '.join(holds)} exclude each other", hint)
        if holds and (made := _MADE.intersection(self.match.kind)):
            message = f"records of kind {min(made)} cannot be held back: such routes make them"
            raise RefusedError(message, f"leave out {holds[0]}, or the kind")
        if self.group is not None and (self.routes or not self.to):
            hint = "write `to` beside `group`; `set` and `where` may be there, too"
            raise RefusedError("a route that groups sends to sinks itself, not to routes within", hint)


class AbsenceConfig(Section):
    """Tells when nothing that matches has come for a time, and when it comes again."""

    name: Annotated[str, AfterValidator(_absence_name)]
    """What its records call it."""
    match: PlaceConfig
    """What should come."""
    where: Condition | None = None
    """What else must hold for it: a CEL expression."""
    on_error: Literal["skip", "match"] = "skip"
    """What becomes of an event for which `where` has no value: it does not count (`skip`), or it does."""
    after: PositiveDuration
    """Seconds of silence after which it is told."""
    to: SinkNames = ()
    """The sinks that are told, whatever the routes say of `kind: absence`."""

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if Kind.ABSENCE in self.match.kind:
            raise RefusedError("the absence of absences cannot be told", "leave out kind: absence")
        if self.on_error == "match" and self.where is None:
            raise RefusedError("on_error is about `where`, and there is none", "remove on_error")
        no_repeats(self.to)
        return self
