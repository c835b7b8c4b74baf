"""Tables on a terminal: columns that fit, lines that are cut at the edge. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tdbwatch.cli.terminal import cut, width_of
from tdbwatch.daemon.words import counted
from tdbwatch.printable import printable, shortened

Row = Mapping[str, Any]

_LONGEST: Final = 400
"""Characters of a cell, before it is cut to what fits."""
_NOTE: Final = 16
"""Columns that a note has at least."""
_NAME: Final = 32
"""Columns that anything but a note has at most."""
GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of one colour; `colour` is a key of `COLOURS`, or empty."""

    text: str
    colour: str = ""

    @classmethod
    def of(cls, text: object, colour: str = "") -> "Cell":
        """Of text that others may have written."""
        return cls(printable(shortened(str(text), _LONGEST)), colour)


Line = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        rank: where the terminal is narrow, columns with higher ones go first.
        is_note: it is as wide as there is room for.
    """

    head: str
    cell: Callable[[Row], Cell]
    rank: int
    is_number: bool = False
    is_note: bool = False


def fit(line: Line, width: int) -> Line:
    """The line, cut at the edge."""
    fitted = []
    for cell in line:
        taken = width_of(cell.text)
        text = cell.text if taken <= width else cut(cell.text, width)
        fitted.append(Cell(text, cell.colour))
        width -= min(taken, width)
    return fitted


def first(lines: Sequence[Line], count: int, noun: str) -> Iterable[Line]:
    """The first of them, and how many more there are."""
    if len(lines) <= count:
        return lines
    rest = len(lines) - max(0, count - 1)
    return [*lines[: max(0, count - 1)], [Cell(f"  and {counted(rest, f'more {noun}')}", "idle")]][:count]


def section(noun: str, columns: Sequence[Column], rows: Sequence[Row], count: int, width: int) -> list[Line]:
    """A table below an empty line, of so many lines in all."""
    chosen, widths = _layout(columns, rows, width)
    head = _joined([Cell(column.head, "head") for column in chosen], chosen, widths)
    lines = [_joined([column.cell(row) for column in chosen], chosen, widths) for row in rows]
    return [[], head, *first(lines, max(0, count - 2), noun)][: max(0, count)]


def _layout(columns: Sequence[Column], rows: Sequence[Row], width: int) -> tuple[list[Column], list[int]]:
    """The columns that fit, and how wide they are."""
    wanted = {
        column.head: max(width_of(column.head), *(width_of(column.cell(row).text) for row in rows), 0)
        for column in columns
    }
    least = {column.head: min(wanted[column.head], _NOTE if column.is_note else _NAME) for column in columns}
    chosen = list(columns)
    while len(chosen) > 1 and sum(least[one.head] + len(GAP) for one in chosen) - len(GAP) > width:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    spare = width - sum(least[one.head] + len(GAP) for one in chosen) + len(GAP)
    widths = []
    for column in chosen:
        more = min(spare, wanted[column.head] - least[column.head]) if column.is_note else 0
        widths.append(max(1, least[column.head] + more))
    return chosen, widths


def _joined(cells: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> Line:
    line: list[Cell] = []
    space = ""
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = cell.text if width_of(cell.text) <= width else _shorter(cell.text, width)
        fill = " " * (width - width_of(text))
        before = space + (fill if column.is_number else "")
        line += [Cell(before), Cell(text, cell.colour)] if before else [Cell(text, cell.colour)]
        space = GAP + ("" if column.is_number else fill)
    return line


def _shorter(text: str, width: int) -> str:
    return cut(text, width - 3) + "..." if width > 8 else cut(text, width)
