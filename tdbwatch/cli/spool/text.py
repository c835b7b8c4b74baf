"""How the commands about a spool write what they found: words for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tdbwatch.cli.output import say
from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry
from tdbwatch.daemon.spool.looking.stats import Stats
from tdbwatch.plugin.event import Event, format_time


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


def span_of(microseconds: int) -> str:
    """How long something took, as exactly as people want to know."""
    milliseconds = microseconds / 1000
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"


def contents(event: Event) -> str:
    """The arguments or details, as JSON."""
    record = event.record()
    common = ("id", "kind", "time", "scope", "room", "room_id", "event", "data")
    what = record.get("args", {key: value for key, value in record.items() if key not in common})
    return json.dumps(what, ensure_ascii=False)


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


def stats_json(
    stats: Stats, path: str, user: str | None, fresh: Iterable[str], unrouted: int | None
) -> dict[str, Any]:
    """The statistics.

    Args:
        fresh: sinks that are configured and that no daemon has started yet.
        unrouted: events that no route takes; None: the routes are not known.
    """
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
            {"sink": s.sink, "floor": s.floor, "behind": s.behind, "dead_letters": s.dead_letters}
            for s in stats.sinks
        ]
        + [{"sink": sink, "floor": None, "behind": None, "dead_letters": 0} for sink in fresh],
        "orders": [
            {"kind": r.kind, "sink": r.sink, "position": r.position, "through": r.through, "missed": r.missed}
            for r in stats.orders
        ],
        "unrouted": unrouted,
        "dropped": [{"reason": tally.reason, "count": tally.count} for tally in stats.drops],
    }


def say_json(value: Mapping[str, Any]) -> None:
    """One object, on one line."""
    say(json.dumps(value, ensure_ascii=False))
