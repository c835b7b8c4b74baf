"""The sinks that read the log: how far each is, and what may go because all of them have it.

Written by the event loop, read by the writer's thread too: every method of its reads a copy or one item.
"""

from collections.abc import Callable, Collection, Mapping

from tdbwatch.plugin.event import Event

Wants = Callable[[Event], bool]
Backlog = Callable[[int], int]


class Readers:
    """Cursors by sink.

    Args:
        names: the sinks of the configuration. None: those that were asked for so far, or, before any was,
            all that ever were; good enough only where nothing is ever dropped.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._known: set[str] = set(names or ())
        self._cursors: dict[str, int] = {}
        self._reading: dict[str, tuple[Wants, Backlog]] = {}

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

    def begin(self, sink: str, wants: Wants, backlog: Backlog) -> None:
        """The sink reads from now on. Of what is replayed for it only what `wants` allows is for it."""
        self._reading[sink] = (wants, backlog)

    def wants(self, sink: str) -> Wants | None:
        """The filter of a sink that reads now; None: it does not."""
        reading = self._reading.get(sink)
        return None if reading is None else reading[0]

    def backlog(self, sink: str, last_seq: int) -> int:
        """How many entries up to this one a sink that reads now could get and has not."""
        return self._reading[sink][1](last_seq)

    def floor(self, last_seq: int) -> int:
        """The newest entry that every sink has finished.

        Sinks that are gone from the configuration do not count.
        """
        cursors = self._cursors.copy()
        known = self._known.copy() or cursors.keys()
        return min((cursors[sink] for sink in known if sink in cursors), default=last_seq)
