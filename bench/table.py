"""Rows of results, and how they are shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

UNCHANGED: Final = "1 in spread"
"""A target of ratios: some runs above 1 and some below, so no change that all of them show."""


@dataclass(frozen=True, slots=True)
class Row:
    """One result.

    Attributes:
        scenario: what was measured.
        name: which number of it.
        value: the number.
        unit: of the number.
        target: what the issue asks for, such as `>= 5`, or `UNCHANGED`; empty where nothing is asked.
        spread: the least and the most of the runs of which `value` is the median; None: the best one counts.
    """

    scenario: str
    name: str
    value: float
    unit: str
    target: str = ""
    spread: tuple[float, float] | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if not self.target:
            return None
        if self.target == UNCHANGED:
            return self.spread is not None and self.spread[0] <= 1 <= self.spread[1]
        sign, bound = self.target.split()
        return self.value >= float(bound) if sign == ">=" else self.value < float(bound)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}


def show(rows: Sequence[Row]) -> str:
    """The rows as a table that Markdown understands."""
    cells = [("scenario", "number", "value", "spread", "unit", "target", "")]
    cells += [
        (row.scenario, row.name, _number(row.value), _range(row), row.unit, row.target, _mark(row.reached))
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(7)]
    lines = ["| " + " | ".join(_aligned(line, widths)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column in {2, 3} else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def _range(row: Row) -> str:
    return "" if row.spread is None else " - ".join(map(_number, row.spread))


def _mark(reached: bool | None) -> str:
    return "" if reached is None else "reached" if reached else "missed"
