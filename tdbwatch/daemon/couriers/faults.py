"""What is logged of a sink's failures: the first one at once, then ever more rarely, and the recovery."""

import traceback
from typing import Any

MAX_TEXT = 2_000
"""Characters of an error that are kept: plugins put whole answers into theirs."""


def describe(error: BaseException) -> str:
    """The error in one line or a few, shortened."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return shorten(text)


def shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 4] + " ..."


class FaultLog:
    """Logs failures number 1, 2, 4, 8, ... of a row, naming the sink and its plugin."""

    def __init__(self, log: Any, sink: str, plugin: str) -> None:
        self._log = log.bind(sink=sink, plugin=plugin)
        self.row = 0

    def failed(self, what: str, error: str, cause: BaseException | None = None, **more: Any) -> None:
        """One more failure in a row; `cause` adds the plugin's traceback."""
        self.row += 1
        if self.row & (self.row - 1) == 0:
            self._log.warning(what, error=error, failures=self.row, exc_info=cause, **more)

    def worked(self) -> None:
        if self.row:
            self._log.info("sink.recovered", failures=self.row)
            self.row = 0

    def gave_up(self, events: int, reason: str, error: str) -> None:
        self._log.error("sink.dead_letter", events=events, reason=reason, error=error)
