"""What a route remembers of the events with one key, whatever the form. Pure; times in Unix microseconds."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from tdbwatch.daemon.config.models.rules import Rule
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin import Kind
from tdbwatch.plugin.event import format_time

NEVER: Final = 1 << 62
"""A time that does not come."""
ONLY_PART: Final = 0
"""The part of a state that is remembered as a whole."""


class Told(NamedTuple):
    """A record that is to be made.

    Attributes:
        to: the sinks that get it whatever the routes say.
        fields: the fields that it has whatever they set.
    """

    kind: Kind
    event: str
    lane: Lane
    details: Mapping[str, Any]
    to: Sequence[str] = ()
    fields: Mapping[str, Any] = {}


class Route:
    """What remembers: the same one for all states of it, through all reloads.

    Attributes:
        rule: as it is configured now; None: it is gone, and only what there is to tell is told still.
    """

    __slots__ = ("rule",)

    def __init__(self, rule: Rule | None) -> None:
        self.rule = rule


class State(ABC):
    """Of the events with one key.

    Attributes:
        size: bytes that it takes in memory, where that counts.
        last_part: the largest number of its parts.
        timed: which look at it is the one that counts.
    """

    timed = -1
    size: int = 0
    last_part: int = ONLY_PART

    def __init__(self, route: Route) -> None:
        self.route = route

    @property
    def path(self) -> str:
        """Of the route in the configuration; empty: it is gone."""
        rule = self.route.rule
        return "" if rule is None else rule.path

    @property
    @abstractmethod
    def due_us(self) -> int:
        """When there is something to do, at the earliest: to tell, or to forget."""

    @abstractmethod
    def tell(self, now_us: int) -> Told | None:
        """What is to be told now, if only because the state is given up; the state goes on after it."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether nothing needs to be remembered any more, as of the last time that it heard or told."""

    @abstractmethod
    def set_back(self, now_us: int) -> None:
        """The clock was set back: what lies in the future was now."""

    @abstractmethod
    def parts(self) -> Mapping[int, bytes]:
        """What has changed since this was asked for last, as it is to be remembered."""

    def whole(self) -> Mapping[int, bytes]:
        """All of it."""
        return self.parts()


def us_of(text: str) -> int:
    """A time of a record, in microseconds.

    Raises:
        ValueError: it is none.
    """
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def times(since_us: int, until_us: int | None) -> dict[str, str | None]:
    """As records have them."""
    return {"since": format_time(since_us), "until": None if until_us is None else format_time(until_us)}
