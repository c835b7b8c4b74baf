"""What came of a reload. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tdbwatch.daemon.config import ConfigError, Problem
from tdbwatch.daemon.words import counted
from tdbwatch.plugin.event import format_time
from tdbwatch.redaction import presentable

_MOST: Final = 100
"""Entries of one list that a record holds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a configuration was taken up, and what that changed.

    Attributes:
        accepted: no: nothing was changed.
        at_us: when that was decided, in microseconds since the Unix epoch.
        digest: of the configuration in use now.
        problems: why it was refused.
        changes: what is otherwise now, in words.
        restart: the keys whose change takes a restart.
        warnings: what it says and hardly means.
    """

    accepted: bool
    at_us: int
    digest: str
    problems: tuple[Problem, ...] = ()
    changes: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def word(self) -> str:
        """`reloaded`, `unchanged` or `refused`."""
        if not self.accepted:
            return "refused"
        return "reloaded" if self.changes or self.restart else "unchanged"

    @property
    def summary(self) -> str:
        """It in one line."""
        if not self.accepted:
            return f"refused, nothing was changed: {counted(len(self.problems), 'problem')}"
        said = counted(len(self.changes), "change") if self.changes else "no change"
        return said + (f"; a restart is needed for {', '.join(self.restart)}" if self.restart else "")

    def details(self) -> Mapping[str, Any]:
        """As records and answers have it."""
        return {
            "verdict": self.word,
            "problems": [_fields(problem) for problem in self.problems[:_MOST]],
            "changes": [_said(change) for change in self.changes[:_MOST]],
            "restart": list(self.restart),
            "hash": self.digest,
        }

    def document(self) -> Mapping[str, Any]:
        """As JSON has it for whoever asked for the reload."""
        warnings = [_fields(problem) for problem in self.warnings]
        return {
            "time": format_time(self.at_us),
            "summary": self.summary,
            **self.details(),
            "warnings": warnings,
        }


def refusal(error: ConfigError, at_us: int, digest: str) -> Verdict:
    """What is wrong with a configuration keeps it from being taken up."""
    return Verdict(False, at_us, digest, tuple(error.problems))


def _fields(problem: Problem) -> Mapping[str, str]:
    said = {
        "place": problem.place,
        "key": problem.path,
        "reason": problem.message,
        "remedy": problem.hint.replace("\n", "; "),
    }
    return {key: _said(text) for key, text in said.items()}


def _said(text: str) -> str:
    return presentable(text, 1_000)
