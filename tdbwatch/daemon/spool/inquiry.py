"""Asks the sinks what they have not finished, before anything goes that one of them may still be to get."""

import time
from collections.abc import Callable
from typing import Final

from tdbwatch.daemon.spool.readers import Readers
from tdbwatch.daemon.spool.sweep import Sinks

PATIENCE: Final = 1.0
"""Seconds for an answer: an event loop that hangs for longer keeps nothing from going."""
PACE: Final = 0.02
"""Seconds between questions."""


class Inquiry:
    """One question at a time; whoever asks comes again.

    Args:
        ask: has `Readers.answer` called in the event loop.
        read_first: seconds after the start in which the sinks may read what there was; until then nobody
            knows what of it they are finished with.
    """

    def __init__(self, readers: Readers, ask: Callable[[], None], read_first: float) -> None:
        self._readers = readers
        self._ask = ask
        self._read_first = read_first
        self._read_until = float("-inf")
        self._start_seq = 0
        self._asked_at: float | None = None
        self._used = False
        self._ask_again_at = 0.0
        self._known_at = float("-inf")
        self.open = False
        """Whether somebody waits for an answer."""

    def begin(self, last_seq: int) -> None:
        """The spool is open; this is its newest entry."""
        self._start_seq, self._read_until = last_seq, time.monotonic() + self._read_first

    def pending(self) -> Sinks:
        """What each sink has not finished, as far as is known."""
        self._used = self._asked_at is not None and self._readers.answered
        return self._readers.pending()

    def forget(self) -> None:
        """Something could go: what the sinks said before that is old."""
        self._asked_at = None

    def answered(self, within: float = 0.0) -> bool:
        """Whether what `pending` gave last is an answer to the last question; else it is asked.

        Args:
            within: seconds; an answer that is no older is good enough.
        """
        self.open = not self._is_answered(time.monotonic(), within)
        return not self.open

    def _is_answered(self, now: float, within: float) -> bool:
        if not self._readers.anybody or now < self._known_at + within:
            return now >= self._read_until
        if self._asked_at is None:
            if now >= self._ask_again_at:
                self._asked_at, self._used, self._readers.answered = now, False, False
                self._ask()
            return False
        if not self._used and now < self._asked_at + PATIENCE:
            return False
        self._asked_at, self._ask_again_at, self._known_at = None, now + PACE, now
        return now >= self._read_until or self._readers.have_read(self._start_seq)
