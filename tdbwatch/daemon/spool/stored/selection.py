"""Which events or dead letters people mean: what the commands about the spool share. Pure."""

import json
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from tdbwatch.plugin.event import Event


@dataclass(frozen=True, slots=True)
class Selection:
    """What is None does not matter.

    Attributes:
        ids: of events.
        sink: whose dead letters; or which sink's, where a command says so.
        room, event, scope: globs, as in routes.
        since_us: received at this time or later, in microseconds since the Unix epoch.
    """

    ids: tuple[str, ...] | None = None
    sink: str | None = None
    room: str | None = None
    event: str | None = None
    scope: str | None = None
    since_us: int | None = None

    def matches(self, event: Event) -> bool:
        """Whether it is about this event, whatever the sink."""
        return (
            (self.since_us is None or event.received_us >= self.since_us)
            and (self.ids is None or event.id in self.ids)
            and (self.room is None or fnmatchcase(event.room, self.room))
            and (self.event is None or fnmatchcase(event.event, self.event))
            and (self.scope is None or fnmatchcase(event.scope, self.scope))
        )

    def to_json(self) -> str:
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    @classmethod
    def from_json(cls, text: str) -> "Selection":
        """The selection of `to_json`.

        Raises:
            ValueError, TypeError: it is none.
        """
        values: dict[str, Any] = json.loads(text)
        if "ids" in values:
            values["ids"] = tuple(values["ids"])
        selection = cls(**values)
        texts = [selection.sink, selection.room, selection.event, selection.scope, *(selection.ids or ())]
        if not (all(type(text) is str for text in texts if text is not None)):
            raise TypeError("not texts")
        if not isinstance(selection.since_us, int | None):
            raise TypeError("not a time")
        return selection
