"""All that is wrong, and whether it counts. Pure: a snapshot in, problems out."""

from collections.abc import Iterator
from typing import Final

from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.health.delivering import delivering
from tdbwatch.daemon.status.health.hearing import hearing
from tdbwatch.daemon.status.health.keeping import disk, keeping
from tdbwatch.daemon.status.health.problem import Problem, short
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.words import ago, counted, duration

MOST_DOUBTS: Final = 12
"""Doubts about the configuration that are told of; `tdbwatch check` and the log have all of them."""


def problems(snapshot: Snapshot) -> tuple[Problem, ...]:
    """All that is wrong now, what blocks first."""
    if snapshot.phase == "stopping":
        return tuple(_stopping(snapshot))
    found = [
        *_daemon(snapshot),
        *hearing(snapshot),
        *delivering(snapshot),
        *keeping(snapshot),
        *_routes(snapshot),
        *_absences(snapshot),
        *_plugins(snapshot),
        *_reload(snapshot),
        *_doubts(snapshot),
        *_http(snapshot),
    ]
    return tuple(sorted(found, key=lambda problem: not problem.blocking))


def is_ready(snapshot: Snapshot) -> bool:
    """Whether events come in, are kept, and go out, as the configuration demands."""
    return not any(problem.blocking for problem in problems(snapshot))


def state_of(snapshot: Snapshot, found: tuple[Problem, ...]) -> str:
    """`ok`, `warning` (ready, but have a look), `trouble` (not ready); or the phase, if not `running`.

    What is doubtful in the configuration is told and changes nothing.
    """
    if snapshot.phase != "running" and not snapshot.starts_in_vain:
        return snapshot.phase
    if any(problem.blocking for problem in found):
        return "trouble"
    return "warning" if not all(problem.is_doubt for problem in found) else "ok"


def _daemon(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.phase == "failed":
        text = f"A part of tdbwatch died ({snapshot.failure}); it ends, to be started again."
        yield Problem("daemon", "", text, blocking=True, remedy=remedies.FAILED)
    elif snapshot.stalled:
        text = f"It makes no progress: {snapshot.stalled} has stood still for minutes."
        yield Problem("daemon", "", text, blocking=True, remedy=remedies.STALLED)
    elif snapshot.phase == "starting" and not snapshot.starts_in_vain:
        yield Problem("daemon", "", "It is starting: not every room was tried yet.", blocking=True)


def _stopping(snapshot: Snapshot) -> Iterator[Problem]:
    """That it stops, and what it still waits for: nobody has to do anything, unless the disk refuses."""
    ends = f"It was told to stop, and ends within about {duration(snapshot.grace)}."
    yield Problem("daemon", "", ends, blocking=True)
    if snapshot.spool.trouble is not None:
        yield disk(snapshot, remedies.DISK_AT_STOP)
    elif snapshot.spool.held:
        text = f"{counted(snapshot.spool.held, 'event')} on the way to the disk."
        yield Problem("spool", "", text, blocking=False)
    if snapshot.links:
        text = f"{counted(snapshot.links, 'connection')} still open: what is heard now stays in the spool."
        yield Problem("links", "", text, blocking=False)
    for sink in snapshot.sinks:
        courier = sink.courier
        if sink.lag:
            then = "kept in the spool for the next start" if courier.state == "stopped" else "to be delivered"
            yield Problem("sink", courier.sink, f"{counted(sink.lag, 'event')} {then}.", blocking=False)


def _routes(snapshot: Snapshot) -> Iterator[Problem]:
    for route in (one for one in snapshot.routes if one.failures):
        text = f"Its expressions have had no value for {counted(route.failures, 'event')} since the start."
        text += f" The latest: {short(route.reason)}"
        remedy = remedies.route(route.event_id)
        yield Problem("route", route.path, text, blocking=False, remedy=remedy)


def _absences(snapshot: Snapshot) -> Iterator[Problem]:
    for absence in snapshot.absences:
        if absence.absent_us is not None:
            text = f"The last that came was {ago(absence.absent_us, snapshot.taken_us)}."
            if not absence.heard:
                text += " Not all was heard meanwhile: the silence may be ours."
            yield Problem("absence", absence.name, text, blocking=False, remedy=remedies.ABSENCE)


def _plugins(snapshot: Snapshot) -> Iterator[Problem]:
    for problem in snapshot.plugin_problems:
        text, remedy = remedies.plugin(problem)
        yield Problem("plugin", problem.plugin, text, blocking=False, remedy=remedy)
    for one in snapshot.resting:
        what, how_long = f"Its {one.kind} {one.name}", duration(one.seconds)
        if one.state == "stuck":
            text = (
                f"{what} is stuck: a call has not come back for {how_long}. Until it does, it has no value."
            )
            yield Problem("plugin", one.plugin, text, blocking=False, remedy=remedies.STUCK_FUNCTION)
        else:
            text = f"{what} is too slow: it is not called, and has no value, for another {how_long}."
            yield Problem("plugin", one.plugin, text, blocking=False, remedy=remedies.SLOW_FUNCTION)


def _reload(snapshot: Snapshot) -> Iterator[Problem]:
    """What is written is not what is in use."""
    config, verdict = snapshot.config, snapshot.config.verdict
    if verdict is not None and not verdict.accepted:
        first = verdict.problems[0]
        where = f"{first.place}: {first.path}".removesuffix(": ").removeprefix(": ")
        more = f" (and {counted(len(verdict.problems) - 1, 'more problem')})" if verdict.problems[1:] else ""
        text = f"Refused; what was in use before is still. {where}: {first.message}{more}."
        yield Problem("reload", "", text, blocking=False, remedy=remedies.REFUSED)
    if config.restart:
        text = f"These have changed and wait for a restart: {', '.join(config.restart)}."
        yield Problem("reload", "", text, blocking=False, remedy=remedies.RESTART)


def _doubts(snapshot: Snapshot) -> Iterator[Problem]:
    for doubt in snapshot.doubts[:MOST_DOUBTS]:
        text = f"{doubt.place}: {doubt.message}"
        yield Problem("config", doubt.path, text, blocking=False, remedy=doubt.hint)
    if (more := len(snapshot.doubts) - MOST_DOUBTS) > 0:
        text = f"It has {counted(more, 'more doubt')}."
        yield Problem("config", "", text, blocking=False, remedy=remedies.DOUBTS)


def _http(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.http_trouble:
        yield Problem("http", "", f"{snapshot.http_trouble}.", blocking=False, remedy=remedies.HTTP)
