"""How the commands about a spool show what they found: lines for people, JSON for programs."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry
from tdbwatch.daemon.spool.browse import Stats
from tdbwatch.plugin.event import Event, format_time

_COLOURS: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_WIDE: Final = 10_000


def paint(text: str, colour: str) -> str:
    """The text in a colour, on a terminal that may show it."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def counted(number: int, word: str, plural: str = "") -> str:
    """`1 event`, `2,000 events`."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def size_of(number: int) -> str:
    """Bytes as people write them."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def time_of(microseconds: int | None) -> str:
    """To the second, in UTC."""
    if microseconds is None:
        return "-"
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def fitted(line: str) -> str:
    """The line, cut at the edge of the terminal; whole where nobody looks. Control characters are escaped."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as what is in them; numbers to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").isdigit()


def contents(event: Event) -> str:
    """The arguments or details, as JSON."""
    record = event.record()
    common = ("id", "kind", "time", "scope", "room", "room_id", "event", "data")
    what = record.get("args", {key: value for key, value in record.items() if key not in common})
    return json.dumps(what, ensure_ascii=False)


def entry_line(entry: Entry) -> str:
    event = entry.event
    again = f" (again, for {entry.target})" if entry.target is not None else ""
    what = f"{event.room or '-'}  {event.event}{again}  {contents(event)}"
    return fitted(f"{time_of(event.received_us)}  {event.id}  {what}")


def letter_line(letter: DeadLetter) -> str:
    event = letter.entry.event
    why = (
        letter.reason if letter.last_error in {"", letter.reason} else f"{letter.reason}: {letter.last_error}"
    )
    return fitted(
        f"{time_of(letter.dead_us)}  {event.id}  {letter.sink}  {event.room or '-'}  {event.event}"
        f"  {counted(letter.attempts, 'attempt')}  {why}"
    )


def entry_json(entry: Entry) -> dict[str, Any]:
    """The record, and where it is in the log."""
    return {**entry.event.record(), "spool": {"seq": entry.seq, "target": entry.target}}


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """The record, and why it is dead."""
    return {
        **letter.entry.event.record(),
        "dead_letter": {
            "sink": letter.sink,
            "reason": letter.reason,
            "attempts": letter.attempts,
            "first_error": letter.first_error,
            "last_error": letter.last_error,
            "first_attempt": format_time(letter.first_us),
            "since": format_time(letter.dead_us),
        },
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "sink": attempt.sink,
        "number": attempt.number,
        "started": format_time(attempt.started_us),
        "milliseconds": attempt.duration_us / 1000,
        "batch": len(attempt.seqs),
        "outcome": attempt.outcome,
        "detail": attempt.detail,
    }


def stats_json(stats: Stats, path: str, user: str | None) -> dict[str, Any]:
    times = {
        key: None if value is None else format_time(value)
        for key, value in (("oldest", stats.oldest_us), ("newest", stats.newest_us))
    }
    return {
        "path": path,
        "bytes": stats.size,
        "used_by": user,
        "events": {"count": stats.count, "first_seq": stats.first_seq, "last_seq": stats.last_seq, **times},
        "sinks": [
            {"sink": s.sink, "cursor": s.cursor, "behind": s.behind, "dead_letters": s.dead_letters}
            for s in stats.sinks
        ],
        "requests": [
            {"kind": r.kind, "sink": r.sink, "position": r.position, "through": r.through}
            for r in stats.requests
        ],
        "dropped": [{"reason": tally.reason, "count": tally.count} for tally in stats.drops],
    }


def print_json(value: Mapping[str, Any]) -> None:
    """One object, on one line."""
    print(json.dumps(value, ensure_ascii=False))
