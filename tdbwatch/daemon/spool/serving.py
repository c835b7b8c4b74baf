"""What people ask for is served between the commits: step by step, while there is room and its sink keeps up.

In the writer's thread.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from tdbwatch.daemon.spool.api import Entry
from tdbwatch.daemon.spool.damage import is_full
from tdbwatch.daemon.spool.news import News
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.daemon.spool.readers import Readers
from tdbwatch.daemon.spool.requests import Request
from tdbwatch.daemon.spool.store import Store
from tdbwatch.daemon.spool.window import weigh

_MOST_BEHIND: Final = 5_000
"""Entries that a sink may be behind and still get more of what people asked for."""
_MOST_BYTES_BEHIND: Final = 16 << 20
"""Bytes of copies that it may not even have read."""


class Serving:
    """The requests that wait, as the last look at the file found them.

    Attributes:
        busy: the last step found something to do, so the next one need not wait.
    """

    def __init__(self, readers: Readers, limits: Limits, tell: Callable[[News], None]) -> None:
        self.busy = False
        self._readers = readers
        self._limits = limits
        self._tell = tell
        self._requests: list[Request] = []
        self._known: dict[int, Request] = {}
        self._told: set[int] = set()
        self._copies: dict[str, deque[tuple[int, int]]] = {}

    @property
    def lagging(self) -> bool:
        """Whether there is something to copy that should not go before."""
        return any(self._readers.wants(request.sink) is not None for request in self._requests)

    def look(self, store: Store) -> None:
        """See what is asked for now. Each request wakes its sink once.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        self._requests = store.requests()
        asked = {request.sink for request in self._requests if request.number not in self._known}
        self._known = {request.number: request for request in self._requests}
        if asked:
            self._tell(News(asked=asked))
        for request in self._requests:
            if request.missed and request.number not in self._told:
                self._told.add(request.number)
                self._tell(News(missed=request))

    def renewed(self, store: Store) -> None:
        """The file is a new one, where the requests have new numbers: those that were known still are.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        known = Counter(request.order for request in self._known.values())
        self._known = {}
        self._requests = []
        for request in store.requests():
            if known[request.order]:
                known[request.order] -= 1
                self._known[request.number] = request

    def step(self, store: Store, floor: int, now_us: int) -> list[Entry]:
        """One small step of one request: the copies it added to the log.

        Raises:
            sqlite3.Error: nothing of it was written.
        """
        self.busy = False
        for request in self._requests.copy():
            wants = self._readers.wants(request.sink)
            if wants is None or not self._keeps_up(request.sink, store.last_seq):
                continue
            try:
                entries, rest = store.serve(request, wants, self._limits, floor, now_us)
            except sqlite3.OperationalError as error:
                if not is_full(error):
                    raise
                self._requests.remove(request)  # there is no room; asked again after the next look
                continue
            self._served(request, rest, entries)
            return entries
        return []

    def put_off(self) -> None:
        """Go on after the next look."""
        self._requests = []

    def _served(self, request: Request, rest: Request, entries: list[Entry]) -> None:
        self.busy = True
        if entries:
            made = self._copies.setdefault(request.sink, deque())
            made.append((entries[-1].seq, weigh(entries)))
        place = self._requests.index(request)
        self._requests[place : place + 1] = [] if rest.done else [rest]
        if rest.done:
            self._known.pop(request.number, None)
            if rest.missed:
                self._tell(News(missed=rest))

    def _keeps_up(self, sink: str, last_seq: int) -> bool:
        if self._readers.backlog(sink, last_seq) > _MOST_BEHIND:
            return False
        made, read = self._copies.get(sink, ()), last_seq - self._readers.unread(sink, last_seq)
        while made and made[0][0] <= read:
            made.popleft()
        return sum(size for _, size in made) <= _MOST_BYTES_BEHIND
