"""What a sink is still to get of what it has read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pending:
    """What a sink has not finished.

    Attributes:
        position: the last entry that it has read.
        rooms: by (scope, room), the first entry that it has read and not finished.
    """

    position: int
    rooms: Mapping[tuple[str, str], int] = field(default_factory=dict)
