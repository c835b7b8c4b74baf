"""The sinks that read the log: how far each is, and what may go because all of them have it.

Written by the event loop, read by the writer's thread too: every method of its reads a copy or one item.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.plugin.event import Event

_NOTHING: Final = Pending(0)
_position = attrgetter("position")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sink that reads has to say; see `Spool.reads`."""

    wants: Callable[[Event], bool]
    backlog: Callable[[int], int]
    asked: Callable[[], None]
    pending: Callable[[], Pending]


class Readers:
    """Cursors by sink.

    Args:
        names: the sinks of the configuration. None: those that were asked for so far, or, before any was,
            all that ever were; good enough only where nothing is ever dropped.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._known: set[str] = set(names or ())
        self._cursors: dict[str, int] = {}
        self._reading: dict[str, Reading] = {}
        self._pending: dict[str, Pending] = {}
        self.answered = False
        """Whether all that read have said what they have not finished, since this was reset."""

    def load(self, cursors: Mapping[str, int], start: int) -> dict[str, int]:
        """Go on from these; the cursors of sinks that are new, which begin at `start`."""
        new = {sink: start for sink in self._known if sink not in cursors}
        self._cursors = {**cursors, **new}
        return new

    def __contains__(self, sink: str) -> bool:
        return sink in self._cursors

    def cursor(self, sink: str) -> int:
        self._known.add(sink)
        return self._cursors[sink]

    def advance(self, sink: str, seq: int) -> None:
        self._cursors[sink] = seq

    def begin(self, sink: str, reading: Reading) -> None:
        """The sink reads from now on."""
        self._reading[sink] = reading

    def asked(self, sink: str) -> None:
        """People ask for it to be delivered to again."""
        if (reading := self._reading.get(sink)) is not None:
            reading.asked()

    def wants(self, sink: str) -> Callable[[Event], bool] | None:
        """The filter of a sink that reads now; None: it does not."""
        reading = self._reading.get(sink)
        return None if reading is None else reading.wants

    def backlog(self, sink: str, last_seq: int) -> int:
        """How many entries up to this one a sink that reads now could get and has not."""
        return self._reading[sink].backlog(last_seq)

    def unread(self, sink: str, last_seq: int) -> int:
        """How many of these it does not even have in memory."""
        backlog = self._reading[sink].backlog
        return backlog(last_seq) - max(0, backlog(0))

    @property
    def anybody(self) -> bool:
        """Whether any sink reads now."""
        return bool(self._reading)

    def answer(self) -> None:
        """Have the sinks say what they have not finished. In the event loop."""
        self._pending = {sink: reading.pending() for sink, reading in self._reading.items()}
        self.answered = True

    def have_read(self, seq: int) -> bool:
        """Whether every sink has read the log up to there."""
        return all(pending.position >= seq for pending in self.pending().values())

    def pending(self) -> dict[str, Pending]:
        """What each sink has not finished. Of one that did not say: all beyond its cursor."""
        cursors, held = self._cursors.copy(), self._pending
        known = [sink for sink in self._known.copy() or cursors if sink in cursors]
        return {sink: max(Pending(cursors[sink]), held.get(sink, _NOTHING), key=_position) for sink in known}

    def floor(self, last_seq: int, durable: Mapping[str, int] | None = None) -> int:
        """The newest entry that every sink has finished; by `durable` cursors, if these are given.

        Sinks that are gone from the configuration do not count.
        """
        cursors = self._cursors.copy() if durable is None else durable
        known = self._known.copy() or cursors.keys()
        return min((cursors[sink] for sink in known if sink in cursors), default=last_seq)
