"""Something that is wrong, in words. Pure."""

from dataclasses import dataclass
from typing import Final

SHOWN_ERROR: Final = 160
"""Characters of an error in a problem's text; the sink's own row has more."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        part: `daemon`, `links`, `node`, `rooms`, `room`, `collection`, `canary`, `sink`, `spool`, `gap`,
            `plugin`, `reload`, `config` or `http`.
        name: which one; empty where there is only one.
        text: what is wrong, and what it means for the events.
        blocking: whether tdbwatch is not ready because of it.
        remedy: what to do, commands in backticks; empty where there is nothing to do.
    """

    part: str
    name: str
    text: str
    blocking: bool
    remedy: str = ""

    @property
    def is_doubt(self) -> bool:
        """Whether it is only about the configuration, and so was there when all went well."""
        return self.part == "config"

    @property
    def subject(self) -> str:
        """What it is about: `Sink oncall:`."""
        return f"{self.part.capitalize()} {self.name}".strip() + ":"


def short(error: str) -> str:
    """An error in one line, cut."""
    line = " ".join(error.split())
    return line if len(line) <= SHOWN_ERROR else line[: SHOWN_ERROR - 4] + " ..."
