"""What `tdbwatch top` shows of a daemon's status, in so many columns and lines. Pure.

The status may come from a daemon of another version, so nothing in it is taken for granted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tdbwatch.cli.terminal import NONE, width_of
from tdbwatch.cli.top.table import GAP, Cell, Column, Line, Row, first, fit, section
from tdbwatch.daemon.status import wording
from tdbwatch.daemon.words import ago, duration, size
from tdbwatch.printable import printable, shortened

Status = Mapping[str, Any]
COLOURS: Final = {"ok": "green", "warning": "yellow", "trouble": "red", "idle": "dim", "head": "bold"}


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
        *first(problems, told, "problem"),
        *facts,
        *section(
            "room",
            _room_columns(now, rates),
            _busiest(rooms, room_lines - 2, rates.of_room),
            room_lines,
            wide,
        ),
        *section(
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


# -- the parts -------------------------------------------------------------------------------------------


def _header(now: Status, width: int) -> Line:
    name, rest = Cell.of(f"tdbwatch on {now.get('host', '?')}", "head"), f"{now.get('version', '?')}, up "
    uptime = _amount(now.get("uptime"))
    rest += "?" if uptime is None else duration(uptime)
    when = f"{str(now.get('time', ''))[:19].replace('T', ' ')}Z"
    left = f"{GAP}{printable(shortened(rest, 60))}"
    space = width - width_of(name.text) - width_of(left) - len(when)
    if space < len(GAP) or width > _WIDEST:
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
            Cell.of(f"{GAP}{node.get('address', '?')} "),
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


def _room_columns(now: Status, rates: "_Rates") -> Sequence[Column]:
    return (
        Column("Room", lambda row: Cell.of(row.get("name", "?")), 0),
        Column("State", _room_state, 1),
        Column("Events", lambda row: Cell(_count(row, "received")), 4, is_number=True),
        Column("Rate", lambda row: Cell(_rate(rates.of_room(row))), 2, is_number=True),
        Column("Last event", lambda row: Cell(_when(row.get("last_event"), now)), 3),
        Column("Reason", lambda row: Cell.of(_why(row) or NONE), 5, is_note=True),
    )


def _room_state(row: Row) -> Cell:
    state = str(row.get("state", "?"))
    return Cell.of(state, wording.room_colour(state, required=bool(row.get("required"))))


def _why(row: Row) -> str:
    try:
        return wording.room_reason(str(row.get("state")), str(row.get("reason") or ""))
    except KeyError:  # a state of another version
        return ""


def _sink_columns(now: Status, rates: "_Rates") -> Sequence[Column]:
    return (
        Column("Sink", lambda row: Cell.of(row.get("name", "?")), 0),
        Column("State", lambda row: Cell.of(*_sink_state(row)), 1),
        Column("Delivered", lambda row: Cell(_count(row, "delivered")), 5, is_number=True),
        Column("Rate", lambda row: Cell(_rate(rates.of_sink(row))), 4, is_number=True),
        Column(
            "Lag",
            lambda row: Cell(_count(row, "lag"), "warning" if row.get("lag") else ""),
            2,
            is_number=True,
        ),
        Column("Oldest", lambda row: Cell(_when(row.get("oldest"), now)), 6),
        Column("Last error", lambda row: Cell.of(_sink_error(row) or NONE), 3, is_note=True),
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


def _busiest(rows: list[Row], count: int, rate: Callable[[Row], float | None]) -> list[Row]:
    """All in their order; where they do not fit, what is in trouble and what is busy first."""
    if len(rows) <= count:
        return rows
    quiet = {"joined", "running", "left"}
    return sorted(rows, key=lambda row: (str(row.get("state")) in quiet, -(rate(row) or 0)))
