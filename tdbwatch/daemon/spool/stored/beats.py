"""The sign of life: until when which room was heard, so that the next start knows since when nobody listened.

It lies in the spool itself, in the commit behind all that was heard before it. Whatever becomes of the file,
restored, moved to another host or copied back, the gap goes with it.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tdbwatch.daemon.intake.causes import Cause, Silence
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.notes import Note, Write

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.stored.store import Store

_SAVE: Final = "INSERT OR REPLACE INTO meta VALUES ('beat', ?)"
_LOAD: Final = "SELECT value FROM meta WHERE key = 'beat'"


@dataclass(frozen=True, slots=True)
class Beat(Note):
    """When the daemon was last known to live. Times in seconds since the Unix epoch.

    Attributes:
        silent: the rooms that were not heard then, since when, and why.
    """

    time: float
    silent: Mapping[Lane, Silence] = field(default_factory=dict)

    def writes(self) -> Iterable[Write]:
        silent = [[*lane, round(s.since, 3), s.cause.value, s.reason] for lane, s in self.silent.items()]
        return [Write(_SAVE, [(json.dumps([round(self.time, 3), silent]),)])]

    def written(self, store: "Store") -> None:
        store.beat = self


def load(connection: sqlite3.Connection) -> Beat | None:
    """The last one; None where there is none, or none that makes sense."""
    row = connection.execute(_LOAD).fetchone()
    try:
        time, silent = json.loads(row[0])
        rooms = {
            Lane(scope, room): Silence(float(since), Cause(cause), reason)
            for scope, room, since, cause, reason in silent
        }
        return Beat(float(time), rooms)
    except (TypeError, ValueError):
        return None
