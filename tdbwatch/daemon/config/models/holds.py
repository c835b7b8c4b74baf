"""What makes a route remember: how many events it lets through, what it collects, what it waits for. Pure."""

from dataclasses import dataclass
from typing import ClassVar

from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.expressions import Expression


@dataclass(frozen=True, slots=True)
class Throttle:
    """Lets so many events through, and counts the others. `dedupe` is one that lets one through.

    Attributes:
        count: so many with one key ...
        per_us: ... in any time of so many microseconds.
        key: what they have in common; None: all have.
    """

    form: ClassVar[str] = "throttle"
    count: int
    per_us: int
    key: Expression | None


@dataclass(frozen=True, slots=True)
class Group:
    """Collects events for one record.

    Attributes:
        wait_us: for so many microseconds from the first ...
        most: ... or until there are so many.
        key: as of `Throttle`.
    """

    form: ClassVar[str] = "group"
    wait_us: int
    most: int
    key: Expression | None


@dataclass(frozen=True, slots=True)
class Absence:
    """Lets all events through, and tells when none came for a time.

    Attributes:
        name: names it in its records.
        after_us: microseconds.
        key: there is none.
    """

    form: ClassVar[str] = "absence"
    name: str
    after_us: int
    key: None = None


Hold = Throttle | Group | Absence


def hold_of(config: RouteConfig | AbsenceConfig) -> Hold | None:
    """What a route, or an absence, remembers; None: nothing."""
    if isinstance(config, AbsenceConfig):
        return Absence(config.name, _us(config.after))
    if (throttle := config.throttle) is not None:
        return Throttle(throttle.count, _us(throttle.per), throttle.key)
    if (dedupe := config.dedupe) is not None:
        return Throttle(1, _us(dedupe.window), dedupe.key)
    if (group := config.group) is not None:
        return Group(_us(group.wait), group.max, group.key)
    return None


def _us(seconds: float) -> int:
    return int(seconds * 1e6)
