"""What is wrong, in words, and whether it counts. Pure: a snapshot in, problems out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.snapshot import NodeView, RoomView, SinkView, Snapshot
from tdbwatch.daemon.status.wording import ROOM_STATES
from tdbwatch.daemon.words import ago, counted, duration, size
from tdbwatch.plugin.event import format_time

RECENT_GAP: Final = 900.0
"""Seconds for which a gap makes people look."""
RECENT_DROP: Final = 3_600.0
"""Seconds for which dropped events make people look; after that gap records and metrics tell of them."""
BEHIND: Final = 300.0
"""Seconds after which an event that a running sink has not got makes people look."""
SHOWN_ERROR: Final = 160
"""Characters of an error in a problem's text; the sink's own row has more."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        part: `daemon`, `links`, `node`, `rooms`, `room`, `canary`, `sink`, `spool`, `gap`, `plugin`,
            `reload`, `config` or `http`.
        name: which one; empty where there is only one.
        text: what is wrong, and what it means for the events.
        blocking: whether tdbwatch is not ready because of it.
        remedy: what to do, commands in backticks; empty where there is nothing to do.
    """

    part: str
    name: str
    text: str
    blocking: bool
    remedy: str = ""

    @property
    def is_doubt(self) -> bool:
        """Whether it is only about the configuration, and so was there when all went well."""
        return self.part == "config"

    @property
    def subject(self) -> str:
        """What it is about: `Sink oncall:`."""
        return f"{self.part.capitalize()} {self.name}".strip() + ":"


def problems(snapshot: Snapshot) -> tuple[Problem, ...]:
    """All that is wrong now, what blocks first."""
    if snapshot.phase == "stopping":
        return tuple(_stopping(snapshot))
    found = [
        *_daemon(snapshot),
        *_links(snapshot),
        *_rooms(snapshot),
        *_canary(snapshot),
        *(problem for sink in snapshot.sinks for problem in _sink(sink, snapshot)),
        *_left_behind(snapshot),
        *_spool(snapshot),
        *_gaps(snapshot),
        *_routes(snapshot),
        *_absences(snapshot),
        *_plugins(snapshot),
        *_reload(snapshot),
        *_doubts(snapshot),
        *_http(snapshot),
    ]
    return tuple(sorted(found, key=lambda problem: not problem.blocking))


def is_alive(snapshot: Snapshot) -> bool:
    """Whether every part of the daemon lives. If not, only a restart helps."""
    return snapshot.phase != "failed" and not snapshot.stalled


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
        yield _disk(snapshot, remedies.DISK_AT_STOP)
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


def _links(snapshot: Snapshot) -> Iterator[Problem]:
    live, wanted = snapshot.links, snapshot.links_wanted
    if not live and (snapshot.phase != "starting" or snapshot.starts_in_vain):
        refused = any(node.state == "refusing" for node in snapshot.nodes)
        what = "Each node that answers refuses the login" if refused else "No connection to ThingsDB"
        text = f"{what}: no event can be heard, and what is emitted now is lost to us."
        remedy = remedies.LOGIN if refused else remedies.LINKS
        yield Problem("links", "", text, blocking=True, remedy=remedy)
    elif 0 < live < wanted:
        text = f"{live} of {counted(wanted, 'connection')}: if that node fails too, events are missed."
        yield Problem("links", "", text, blocking=False, remedy=remedies.FEWER_LINKS)
    for node in snapshot.nodes:
        if node.state == "unreachable":
            text = _unreachable(node, snapshot.taken_us)
            yield Problem("node", node.address, text, blocking=False, remedy=remedies.NODE)
        elif node.state == "refusing":
            text = _unreachable(node, snapshot.taken_us)
            yield Problem("node", node.address, text, blocking=False, remedy=remedies.LOGIN)


def _unreachable(node: NodeView, now_us: int) -> str:
    since = "" if node.since_us is None else f" for {duration((now_us - node.since_us) / 1e6)}"
    return f"Not connected{since}. {_short(node.trouble)}"


def _rooms(snapshot: Snapshot) -> Iterator[Problem]:
    deaf = _hears_no_room(snapshot)
    if deaf and len(snapshot.rooms) > 1:  # else the room says it itself
        text = "None of the rooms is joined: nothing can be heard."
        yield Problem("rooms", "", text, blocking=True, remedy=remedies.NO_ROOM)
    for room in snapshot.rooms:
        if snapshot.links or room.state != "waiting":  # else they wait for a connection, as is said already
            yield from _room(room, blocking=deaf or room.required)


def _hears_no_room(snapshot: Snapshot) -> bool:
    """Whether there are connections, and every room was tried on them, in vain."""
    tried = snapshot.phase == "running" and snapshot.links and snapshot.rooms
    return bool(tried) and not any(room.state in {"joined", "left"} for room in snapshot.rooms)


def _room(room: RoomView, *, blocking: bool) -> Iterator[Problem]:
    if room.state not in {"joined", "left"}:
        text = f"{ROOM_STATES[room.state]}: its events are missed. {_short(room.reason)}".strip()
        name = f"{room.name} in {room.scope}"
        yield Problem("room", name, text, blocking=blocking, remedy=room.remedy)
    if room.unrouted:
        text = f"{counted(room.unrouted, 'event')} since the start that no route takes: no sink gets them."
        name = f"{room.name} in {room.scope}"
        yield Problem("room", name, text, blocking=False, remedy=remedies.UNROUTED)


def _routes(snapshot: Snapshot) -> Iterator[Problem]:
    for route in (one for one in snapshot.routes if one.failures):
        text = f"Its expressions have had no value for {counted(route.failures, 'event')} since the start."
        text += f" The latest: {_short(route.reason)}"
        remedy = remedies.route(route.event_id)
        yield Problem("route", route.path, text, blocking=False, remedy=remedy)


def _absences(snapshot: Snapshot) -> Iterator[Problem]:
    for absence in snapshot.absences:
        if absence.absent_us is not None:
            text = f"The last that came was {ago(absence.absent_us, snapshot.taken_us)}."
            if not absence.heard:
                text += " Not all was heard meanwhile: the silence may be ours."
            yield Problem("absence", absence.name, text, blocking=False, remedy=remedies.ABSENCE)


def _canary(snapshot: Snapshot) -> Iterator[Problem]:
    canary = snapshot.canary
    if canary is None or canary.state in {"joined", "left"}:
        return
    if snapshot.links or canary.state != "waiting":
        text = f"{ROOM_STATES[canary.state]}: a connection that lives and delivers nothing is not found out."
        name = f"{canary.room} in {canary.scope}"
        text = f"{text} {_short(canary.reason)}".strip()
        yield Problem("canary", name, text, blocking=False, remedy=canary.remedy)


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
        text += f" The latest: {_short(letters.last_reason)}"
        remedy = remedies.dead_letters(sink, spool)
        yield Problem("sink", courier.sink, text, blocking=False, remedy=remedy)


def _failing(sink: SinkView, now_us: int) -> str:
    """What is wrong with the sink as a whole; empty when it delivers."""
    courier = sink.courier
    error = f" It says: {_short(courier.last_error)}" if courier.last_error else ""
    waiting = f"Waiting for it: {counted(sink.lag, 'event')}."
    if courier.state == "stuck":  # when it is asked next is of no account: only a restart helps
        return f"The plugin hangs and cannot be interrupted. {waiting}{error}"
    if courier.state == "paused":
        return f"Paused. {waiting} {_next_try(courier, now_us)}{error}"
    if courier.state == "refusing":
        refused = f"It refuses all it is given: the last {counted(courier.refused_in_row, 'event')} in a row."
        return f"{refused} It answered: {_short(courier.last_refusal)}"
    if courier.probing:
        failed = f"{counted(courier.failures, 'failure')} in a row, so it is only probed."
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


def _spool(snapshot: Snapshot) -> Iterator[Problem]:
    spool, now_us = snapshot.spool, snapshot.taken_us
    if spool.trouble is not None:
        yield _disk(snapshot, remedies.reader(spool.path) if spool.log_grew else remedies.DISK)
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


def _disk(snapshot: Snapshot, remedy: str) -> Problem:
    held, trouble = snapshot.spool.held, snapshot.spool.trouble or ""
    text = (
        f"The disk does not take events; {held:,} are held in memory, and no sink gets them before it does."
    )
    most = max((sink.courier for sink in snapshot.sinks), key=lambda one: one.lag, default=None)
    if most is not None and most.lag:
        text += f" It holds {counted(most.lag, 'event')} that {most.sink} has not got."
    text += f" {_short(trouble)}"
    return Problem("spool", "", text, blocking=True, remedy=remedy)


def _gaps(snapshot: Snapshot) -> Iterator[Problem]:
    recent = [span for span in snapshot.spans if snapshot.taken_us - span.at_us < RECENT_GAP * 1e6]
    if _recent_drop(snapshot) is not None:  # which are said already
        recent = [span for span in recent if span.cause != "spool"]
    if recent:
        what = "were dropped" if {span.cause for span in recent} == {"spool"} else "may have been missed"
        text = f"{counted(len(recent), 'gap')} in the last 15 minutes: events {what}."
        yield Problem("gap", "", text, blocking=False, remedy=remedies.gaps(recent))


def _plugins(snapshot: Snapshot) -> Iterator[Problem]:
    for problem in snapshot.plugin_problems:
        text, remedy = remedies.plugin(problem)
        yield Problem("plugin", problem.plugin, text, blocking=False, remedy=remedy)


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
    for doubt in snapshot.doubts:
        text = f"{doubt.place}: {doubt.message}"
        yield Problem("config", doubt.path, text, blocking=False, remedy=doubt.hint)


def _http(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.http_trouble:
        yield Problem("http", "", f"{snapshot.http_trouble}.", blocking=False, remedy=remedies.HTTP)


def _short(error: str) -> str:
    line = " ".join(error.split())
    return line if len(line) <= SHOWN_ERROR else line[: SHOWN_ERROR - 4] + " ..."
