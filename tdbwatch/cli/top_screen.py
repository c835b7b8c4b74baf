"""What `tdbwatch top` shows of a daemon's status, in so many columns and lines. Pure.

The status may come from a daemon of another version, so nothing in it is taken for granted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tdbwatch.cli.terminal import NONE, cut, width_of
from tdbwatch.daemon.status import wording
from tdbwatch.daemon.words import ago, counted, duration, size
from tdbwatch.printable import printable, shortened

Status = Mapping[str, Any]
Row = Mapping[str, Any]
COLOURS: Final = {"ok": "green", "warning": "yellow", "trouble": "red", "idle": "dim", "head": "bold"}

_LONGEST: Final = 400
"""Characters of a cell, before it is cut to what fits."""
_NOTE: Final = 16
"""Columns that a note has at least."""
_NAME: Final = 32
"""Columns that anything but a note has at most."""
_GAP: Final = "  "


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
class _Column:
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


def screen(
    now: Status, before: Status | None, width: int | None, height: int | None, remark: str = ""
) -> list[Line]:
    """The lines to show.

    Args:
        before: an earlier status, for rates; None: there is none.
        width: columns of the terminal; None: nobody looks, so nothing is cut.
        height: its lines; None: as many as there are.
        remark: what else to say, at the bottom.
    """
    wide = width or 1 << 20
    rates = _Rates(now, before)
    top = [_header(now, wide), _headline(now)]
    problems = list(_problems(now))
    facts = [_links(now), _spool(now)]
    rooms, sinks = _rows(now, "rooms"), _rows(now, "sinks")
    foot = [[Cell.of(remark, "idle")]] if remark else []
    left = None if height is None else height - len(top) - len(facts) - len(foot)
    told = _share(left, len(problems), len(rooms) + len(sinks) + 4, third=True)
    left = None if left is None else left - told
    room_lines = _share(left, len(rooms) + 2, len(sinks) + 2)
    sink_lines = len(sinks) + 2 if left is None else left - room_lines
    lines = [
        *top,
        *_first(problems, told, "problem"),
        *facts,
        *_section(
            "room",
            _room_columns(now, rates),
            _busiest(rooms, room_lines - 2, rates.of_room),
            room_lines,
            wide,
        ),
        *_section(
            "sink",
            _sink_columns(now, rates),
            _busiest(sinks, sink_lines - 2, rates.of_sink),
            sink_lines,
            wide,
        ),
    ]
    if height is not None:
        lines = lines[: height - len(foot)]
    return [fit(line, wide) for line in (*lines, *foot)][:height]


def fit(line: Line, width: int) -> Line:
    """The line, cut at the edge."""
    fitted = []
    for cell in line:
        taken = width_of(cell.text)
        text = cell.text if taken <= width else cut(cell.text, width)
        fitted.append(Cell(text, cell.colour))
        width -= min(taken, width)
    return fitted


# -- the parts -------------------------------------------------------------------------------------------


def _header(now: Status, width: int) -> Line:
    name, rest = Cell.of(f"tdbwatch on {now.get('host', '?')}", "head"), f"{now.get('version', '?')}, up "
    uptime = _amount(now.get("uptime"))
    rest += "?" if uptime is None else duration(uptime)
    when = f"{str(now.get('time', ''))[:19].replace('T', ' ')}Z"
    left = f"{_GAP}{printable(shortened(rest, 60))}"
    space = width - width_of(name.text) - width_of(left) - len(when)
    if space < len(_GAP) or width > _WIDEST:
        return [name, Cell(left)]
    return [name, Cell(left + " " * space), Cell.of(when, "idle")]


_WIDEST: Final = 1000
_ABSURD: Final = 1 << 62


def _headline(now: Status) -> Line:
    state = str(now.get("state"))
    colour, head, explanation = wording.HEADLINES.get(state, ("idle", state, ""))
    return [Cell.of(head, colour), Cell.of(f": {explanation}" if explanation else "")]


def _problems(now: Status) -> Iterator[Line]:
    for problem in _rows(now, "problems"):
        part, name = str(problem.get("part", "")), str(problem.get("name", ""))
        if part == "daemon" and now.get("state") != "stopping":
            continue  # the headline says it
        subject = f"{part.capitalize()} {name}".strip()
        colour = "trouble" if problem.get("blocking") else "warning"
        yield [Cell.of(f"  {subject}: ", colour), Cell.of(problem.get("text", ""))]


def _links(now: Status) -> Line:
    found = now.get("links")
    links: Row = found if isinstance(found, Mapping) else {}
    line = [Cell("Links  ", "head"), Cell(wording.sum_up(_number(links, "live"), _number(links, "wanted")))]
    for node in _rows(now, "nodes"):
        state = str(node.get("state", "?"))
        line += [
            Cell.of(f"{_GAP}{node.get('address', '?')} "),
            Cell.of(state, wording.NODE_COLOURS.get(state, "idle")),
        ]
    return line


def _spool(now: Status) -> Line:
    spool = now.get("spool")
    spool = spool if isinstance(spool, Mapping) else {}
    used, most = _amount(spool.get("used")), _amount(spool.get("max_size"))
    said = "not read yet" if used is None else size(int(used))
    said += "" if most is None else f" of {size(int(most))}"
    line = [Cell("Spool  ", "head"), Cell.of(f"{said}, {_count(spool, 'entries')} entries")]
    if spool.get("held"):
        line.append(Cell.of(f", {_count(spool, 'held')} waiting for the disk", "warning"))
    if spool.get("dropped"):
        line.append(Cell.of(f", {_count(spool, 'dropped')} dropped undelivered", "warning"))
    if spool.get("trouble"):
        line.append(Cell.of(f", {spool['trouble']}", "trouble"))
    return line


def _room_columns(now: Status, rates: "_Rates") -> Sequence[_Column]:
    return (
        _Column("Room", lambda row: Cell.of(row.get("name", "?")), 0),
        _Column("State", _room_state, 1),
        _Column("Events", lambda row: Cell(_count(row, "received")), 4, is_number=True),
        _Column("Rate", lambda row: Cell(_rate(rates.of_room(row))), 2, is_number=True),
        _Column("Last event", lambda row: Cell(_when(row.get("last_event"), now)), 3),
        _Column("Reason", lambda row: Cell.of(_why(row) or NONE), 5, is_note=True),
    )


def _room_state(row: Row) -> Cell:
    state = str(row.get("state", "?"))
    return Cell.of(state, wording.room_colour(state, required=bool(row.get("required"))))


def _why(row: Row) -> str:
    try:
        return wording.room_reason(str(row.get("state")), str(row.get("reason") or ""))
    except KeyError:  # a state of another version
        return ""


def _sink_columns(now: Status, rates: "_Rates") -> Sequence[_Column]:
    return (
        _Column("Sink", lambda row: Cell.of(row.get("name", "?")), 0),
        _Column("State", lambda row: Cell.of(*_sink_state(row)), 1),
        _Column("Delivered", lambda row: Cell(_count(row, "delivered")), 5, is_number=True),
        _Column("Rate", lambda row: Cell(_rate(rates.of_sink(row))), 4, is_number=True),
        _Column(
            "Lag",
            lambda row: Cell(_count(row, "lag"), "warning" if row.get("lag") else ""),
            2,
            is_number=True,
        ),
        _Column("Oldest", lambda row: Cell(_when(row.get("oldest"), now)), 6),
        _Column("Last error", lambda row: Cell.of(_sink_error(row) or NONE), 3, is_note=True),
    )


def _sink_state(row: Row) -> tuple[str, str]:
    return wording.sink_state(str(row.get("state", "?")), probing=bool(row.get("probing")))


def _sink_error(row: Row) -> str:
    letters = row.get("dead_letters")
    buried: Row = letters if isinstance(letters, Mapping) and letters.get("count") else {}
    letter = str(buried.get("last_reason") or "")
    error, refusal = row.get("last_error"), str(row.get("last_refusal") or "")
    return wording.sink_error(str(row.get("state")), None if error is None else str(error), refusal, letter)


# -- figures ---------------------------------------------------------------------------------------------


class _Rates:
    """What happened in each second between two statuses of one daemon."""

    def __init__(self, now: Status, before: Status | None) -> None:
        self._seconds = 0.0
        self._before: dict[tuple[str, ...], int] = {}
        if before is None or before.get("started") != now.get("started"):
            return
        then, moment = _moment(before.get("time")), _moment(now.get("time"))
        if then is not None and moment is not None and moment > then:
            self._seconds = (moment - then) / 1e6
            self._before = {_key(row): _number(row, "received") for row in _rows(before, "rooms")}
            self._before |= {_key(row): _number(row, "delivered") for row in _rows(before, "sinks")}

    def of_room(self, row: Row) -> float | None:
        return self._of(row, "received")

    def of_sink(self, row: Row) -> float | None:
        return self._of(row, "delivered")

    def _of(self, row: Row, key: str) -> float | None:
        before = self._before.get(_key(row))
        return None if before is None else max(0, _number(row, key) - before) / self._seconds


def _key(row: Row) -> tuple[str, ...]:
    return (
        ("room", str(row["scope"]), str(row.get("name")))
        if "scope" in row
        else ("sink", str(row.get("name")))
    )


def _rows(status: Status, part: str) -> list[Row]:
    found = status.get(part)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _number(row: Row, key: str) -> int:
    return int(_amount(row.get(key)) or 0)


def _count(row: Row, key: str) -> str:
    value = _amount(row.get(key))
    return NONE if value is None else f"{int(value):,}"


def _amount(value: object) -> int | float | None:
    """A number that can be counted with; None: it is none."""
    return value if isinstance(value, int | float) and abs(value) < _ABSURD else None


def _rate(rate: float | None) -> str:
    if rate is None:
        return NONE
    return f"{rate:,.0f}/s" if rate >= 10 or not rate else f"{rate:.1f}/s"


def _moment(text: object) -> int | None:
    """Microseconds since the Unix epoch."""
    try:
        return round(datetime.fromisoformat(str(text)).timestamp() * 1e6)
    except (ValueError, OverflowError):
        return None


def _when(text: object, now: Status) -> str:
    then, moment = _moment(text), _moment(now.get("time"))
    return NONE if then is None or moment is None else ago(then, moment)


# -- lines -----------------------------------------------------------------------------------------------


def _share(left: int | None, wanted: int, others: int, *, third: bool = False) -> int:
    """How many of the lines that are left one part gets, if others want so many."""
    if left is None or wanted + others <= left:
        return wanted
    fair = max(0, left) // (3 if third else 2)
    return min(wanted, max(fair, left - others))


def _first(lines: Sequence[Line], count: int, noun: str) -> Iterable[Line]:
    """The first of them, and how many more there are."""
    if len(lines) <= count:
        return lines
    rest = len(lines) - max(0, count - 1)
    return [*lines[: max(0, count - 1)], [Cell(f"  and {counted(rest, f'more {noun}')}", "idle")]][:count]


def _busiest(rows: list[Row], count: int, rate: Callable[[Row], float | None]) -> list[Row]:
    """All in their order; where they do not fit, what is in trouble and what is busy first."""
    if len(rows) <= count:
        return rows
    quiet = {"joined", "running", "left"}
    return sorted(rows, key=lambda row: (str(row.get("state")) in quiet, -(rate(row) or 0)))


def _section(
    noun: str, columns: Sequence[_Column], rows: Sequence[Row], count: int, width: int
) -> list[Line]:
    """A table below an empty line, of so many lines in all."""
    chosen, widths = _layout(columns, rows, width)
    head = _joined([Cell(column.head, "head") for column in chosen], chosen, widths)
    lines = [_joined([column.cell(row) for column in chosen], chosen, widths) for row in rows]
    return [[], head, *_first(lines, max(0, count - 2), noun)][: max(0, count)]


def _layout(columns: Sequence[_Column], rows: Sequence[Row], width: int) -> tuple[list[_Column], list[int]]:
    """The columns that fit, and how wide they are."""
    wanted = {
        column.head: max(width_of(column.head), *(width_of(column.cell(row).text) for row in rows), 0)
        for column in columns
    }
    least = {column.head: min(wanted[column.head], _NOTE if column.is_note else _NAME) for column in columns}
    chosen = list(columns)
    while len(chosen) > 1 and sum(least[one.head] + len(_GAP) for one in chosen) - len(_GAP) > width:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    spare = width - sum(least[one.head] + len(_GAP) for one in chosen) + len(_GAP)
    widths = []
    for column in chosen:
        more = min(spare, wanted[column.head] - least[column.head]) if column.is_note else 0
        widths.append(max(1, least[column.head] + more))
    return chosen, widths


def _joined(cells: Sequence[Cell], columns: Sequence[_Column], widths: Sequence[int]) -> Line:
    line: list[Cell] = []
    space = ""
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = cell.text if width_of(cell.text) <= width else _shorter(cell.text, width)
        fill = " " * (width - width_of(text))
        before = space + (fill if column.is_number else "")
        line += [Cell(before), Cell(text, cell.colour)] if before else [Cell(text, cell.colour)]
        space = _GAP + ("" if column.is_number else fill)
    return line


def _shorter(text: str, width: int) -> str:
    return cut(text, width - 3) + "..." if width > 8 else cut(text, width)
