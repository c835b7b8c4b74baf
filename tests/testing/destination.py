"""Where the sinks under test bring events."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Destination:
    """Keeps the ids it took. It can be away, not answer, or never take an event called poison."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        self.refused = threading.Event()
        """Set once somebody came while it was away."""
        self._left: int | None = None

    def put(self, event_id: str, event: str) -> None:
        """Take it.

        Raises:
            ValueError: it is poison.
        """
        if event == "poison":
            raise ValueError("no such event")
        self.ids.append(event_id)

    def called(self) -> None:
        """Somebody comes with one, or several.

        Raises:
            ConnectionError: the destination is away.
        """
        if self._left == 0:
            self.refused.set()
            raise ConnectionError("the destination is away")
        if self._left is not None:
            self._left -= 1

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        """Away once so many came."""
        self._left = after
        yield
        self.is_back()

    def is_back(self) -> None:
        self._left = None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        self.answers.clear()
        yield
        self.answers.set()
