"""What is wrong with delivering: sinks that fail or are behind, and those that are gone. Pure."""

from collections.abc import Iterator
from typing import Final

from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.health.problem import Problem, short
from tdbwatch.daemon.status.snapshot import SinkView, Snapshot
from tdbwatch.daemon.words import ago, counted, duration
from tdbwatch.plugin.event import format_time

BEHIND: Final = 300.0
"""Seconds after which an event that a running sink has not got makes people look."""


def delivering(snapshot: Snapshot) -> Iterator[Problem]:
    """What keeps events from sinks."""
    for sink in snapshot.sinks:
        yield from _sink(sink, snapshot)
    yield from _left_behind(snapshot)


def _sink(sink: SinkView, snapshot: Snapshot) -> Iterator[Problem]:
    courier, spool, now_us = sink.courier, snapshot.spool, snapshot.taken_us
    if text := _failing(sink, now_us):
        yield Problem("sink", courier.sink, text, blocking=True, remedy=remedies.failing(sink, spool))
    elif courier.oldest_us is not None and now_us - courier.oldest_us > BEHIND * 1e6:
        text = f"Its oldest undelivered event was received {ago(courier.oldest_us, now_us)}."
        yield Problem("sink", courier.sink, text, blocking=False, remedy=remedies.behind(sink, spool))
    letters = sink.dead_letters
    if letters is not None and letters.count:
        text = f"{counted(letters.count, 'dead letter')}: events it never took, kept in the spool."
        text += f" The latest: {short(letters.last_reason)}"
        remedy = remedies.dead_letters(sink, spool)
        yield Problem("sink", courier.sink, text, blocking=False, remedy=remedy)


def _failing(sink: SinkView, now_us: int) -> str:
    """What is wrong with the sink as a whole; empty when it delivers."""
    courier, health = sink.courier, sink.courier.health
    error = f" It says: {short(health.last_error)}" if health.last_error else ""
    waiting = f"Waiting for it: {counted(sink.lag, 'event')}."
    if courier.state == "stuck":  # when it is asked next is of no account: only a restart helps
        return f"The plugin hangs and cannot be interrupted. {waiting}{error}"
    if courier.state == "paused":
        return f"Paused. {waiting} {_next_try(courier, now_us)}{error}"
    if courier.state == "refusing":
        refused = f"It refuses all it is given: the last {counted(health.refused_in_row, 'event')} in a row."
        return f"{refused} It answered: {short(health.last_refusal)}"
    if health.probing:
        failed = f"{counted(health.failures, 'failure')} in a row, so it is only probed."
        return f"{failed} {waiting} {_next_try(courier, now_us)}{error}"
    return ""


def _next_try(courier: CourierStatus, now_us: int) -> str:
    """When the sink is tried next."""
    if courier.next_try_us is not None:
        seconds = (courier.next_try_us - now_us) / 1e6
        return f"Next try at {format_time(courier.next_try_us)[11:19]} UTC, in {duration(seconds)}."
    return "It is being tried now." if courier.in_flight else "Next try: with its next event."


def _left_behind(snapshot: Snapshot) -> Iterator[Problem]:
    for one in snapshot.left_behind:
        text = f"It is not in the configuration, and the spool still has {one} of it."
        yield Problem("sink", one.sink, text, blocking=False, remedy=remedies.left_behind(one.sink))
