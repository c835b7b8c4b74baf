"""What is wrong with keeping events: the spool, and what was missed. Pure."""

from collections.abc import Iterator
from typing import Final

from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.health.problem import Problem, short
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.words import ago, counted, size

RECENT_GAP: Final = 900.0
"""Seconds for which a gap makes people look."""
RECENT_DROP: Final = 3_600.0
"""Seconds for which dropped events make people look; after that gap records and metrics tell of them."""


def keeping(snapshot: Snapshot) -> Iterator[Problem]:
    """What keeps events from the disk, and what was lost."""
    yield from _spool(snapshot)
    yield from _gaps(snapshot)


def _spool(snapshot: Snapshot) -> Iterator[Problem]:
    spool, now_us = snapshot.spool, snapshot.taken_us
    if spool.trouble is not None:
        yield disk(snapshot, remedies.reader(spool.path) if spool.log_grew else remedies.DISK)
    elif spool.log_grew:
        text = f"Its log has grown to {size(spool.log_grew)}: another process reads it, and goes on."
        yield Problem("spool", "", text, blocking=False, remedy=remedies.reader(spool.path))
    if (last_us := _recent_drop(snapshot)) is not None:
        lost = counted(spool.dropped, "undelivered event")
        text = f"{lost} given up since the start, the latest {ago(last_us, now_us)}; see the gaps."
        yield Problem("spool", "", text, blocking=False, remedy=remedies.DROPPED)


def _recent_drop(snapshot: Snapshot) -> int | None:
    last_us = snapshot.spool.last_drop_us
    return None if last_us is None or snapshot.taken_us - last_us >= RECENT_DROP * 1e6 else last_us


def disk(snapshot: Snapshot, remedy: str) -> Problem:
    """That it does not take events, and what that means."""
    held, trouble = snapshot.spool.held, snapshot.spool.trouble or ""
    number, them = ("1 is", "it") if held == 1 else (f"{held:,} are", "them")
    text = f"The disk does not take events; {number} held in memory, and no sink gets {them} before it does."
    most = max((sink.courier for sink in snapshot.sinks), key=lambda one: one.lag, default=None)
    if most is not None and most.lag:
        text += f" It holds {counted(most.lag, 'event')} that {most.sink} has not got."
    text += f" {short(trouble)}"
    return Problem("spool", "", text, blocking=True, remedy=remedy)


def _gaps(snapshot: Snapshot) -> Iterator[Problem]:
    recent = [span for span in snapshot.spans if snapshot.taken_us - span.at_us < RECENT_GAP * 1e6]
    if _recent_drop(snapshot) is not None:  # which are said already
        recent = [span for span in recent if span.cause != "spool"]
    if recent:
        what = "were dropped" if {span.cause for span in recent} == {"spool"} else "may have been missed"
        text = f"{counted(len(recent), 'gap')} in the last 15 minutes: events {what}."
        yield Problem("gap", "", text, blocking=False, remedy=remedies.gaps(recent))
