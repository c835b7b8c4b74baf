"""Rows of results, and how they are shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One result.

    Attributes:
        scenario: what was measured.
        name: which number of it.
        value: the number.
        unit: of the number.
        target: what the issue asks for, such as `>= 5`; empty where nothing is asked.
    """

    scenario: str
    name: str
    value: float
    unit: str
    target: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        return self.value >= float(bound) if sign == ">=" else self.value < float(bound)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}


def show(rows: Sequence[Row]) -> str:
    """The rows as a table that Markdown understands."""
    cells = [("scenario", "number", "value", "unit", "target", "")]
    cells += [
        (row.scenario, row.name, _number(row.value), row.unit, row.target, _mark(row.reached)) for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = ["| " + " | ".join(_aligned(line, widths)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column == 2 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def _mark(reached: bool | None) -> str:
    return "" if reached is None else "reached" if reached else "missed"
