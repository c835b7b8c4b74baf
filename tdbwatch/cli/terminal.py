"""Colours and columns for people who look at a terminal; plain and whole for whoever reads otherwise."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

from tdbwatch.printable import printable

_COLOURS: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_GAP: Final = "  "
NONE: Final = "-"
"""In a column of numbers."""
_LOOK: Final = 100
"""Rows that decide how wide columns are, so that all others can be shown as they come."""
_WIDEST: Final = 30
"""A column gets no wider: whatever is longer moves the rest of its own line only."""


def is_terminal() -> bool:
    """Whether people look at what is said."""
    return bool(sys.stdout) and sys.stdout.isatty()  # there is none where it was closed


def paint(text: str, colour: str) -> str:
    """The text in a colour, on a terminal that may show it."""
    if not is_terminal() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def width_of(text: str) -> int:
    """How many columns a printable text takes."""
    return sum(map(_width, text)) if not text.isascii() else len(text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fitted(line: str) -> str:
    """The line, cut at the edge of the terminal; whole where nobody looks. Control characters are escaped."""
    plain = printable(line)
    if not is_terminal():
        return plain
    width = shutil.get_terminal_size().columns
    return plain if width_of(plain) <= width else cut(plain, width - 3) + "..."


def cut(text: str, width: int) -> str:
    """As much of the text as fits into so many columns."""
    for position, char in enumerate(text):
        width -= _width(char)
        if width < 0:
            return text[:position]
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as what is in them; numbers to the right."""
    lines = [head, *rows]
    layout = _layout(lines)
    return [_line(line, layout) for line in lines]


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """As `table`, for rows that come one by one: the first say how wide columns are. Nothing for no rows."""
    rest = (tuple(map(printable, row)) for row in rows)
    first = list(islice(rest, _LOOK))
    if not first:
        return
    layout = _layout([head, *first])
    yield paint(fitted(_line(head, layout)), "bold")
    for row in chain(first, rest):
        yield fitted(_line(row, layout))


Layout = Sequence[tuple[int, bool]]
"""Of each column, how wide it is, and whether it is one of numbers."""


def _layout(lines: Sequence[Sequence[str]]) -> Layout:
    return [
        (min(_WIDEST, max(map(width_of, cells))), all(map(_is_number, cells[1:])))
        for cells in zip(*lines, strict=True)
    ]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").isdigit() or cell == NONE


def _line(cells: Sequence[str], layout: Layout) -> str:
    return _GAP.join(_padded(cell, *column) for cell, column in zip(cells, layout, strict=True)).rstrip()


def _padded(cell: str, width: int, is_number: bool) -> str:
    space = " " * (width - width_of(cell))
    return space + cell if is_number else cell + space
