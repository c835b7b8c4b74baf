"""What is wrong, in words, and whether it counts. Pure: a snapshot in, problems out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.status.snapshot import NodeView, RoomView, SinkView, Snapshot
from tdbwatch.daemon.status.words import ago, counted, duration
from tdbwatch.plugin.event import format_time

RECENT_GAP: Final = 900.0
"""Seconds for which a gap makes people look."""
BEHIND: Final = 300.0
"""Seconds after which an event that a running sink has not got makes people look."""
SHOWN_ERROR: Final = 160
"""Characters of an error in a problem's text; the sink's own row has more."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        part: `daemon`, `links`, `node`, `room`, `sink`, `spool`, `gap` or `plugin`.
        name: which one; empty where there is only one.
        text: what is wrong, and what it means for the events.
        blocking: whether tdbwatch is not ready because of it.
        remedy: what to do; empty where it mends itself, or the text says so.
    """

    part: str
    name: str
    text: str
    blocking: bool
    remedy: str = ""


def problems(snapshot: Snapshot) -> tuple[Problem, ...]:
    """All that is wrong now, what blocks first."""
    found = [
        *_daemon(snapshot),
        *_links(snapshot),
        *_rooms(snapshot),
        *(problem for sink in snapshot.sinks for problem in _sink(sink, snapshot.taken_us)),
        *_spool(snapshot),
        *_gaps(snapshot),
        *(Problem("plugin", "", text, blocking=False) for text in snapshot.plugin_problems),
    ]
    return tuple(sorted(found, key=lambda problem: not problem.blocking))


def is_alive(snapshot: Snapshot) -> bool:
    """Whether every part of the daemon lives. If not, only a restart helps."""
    return snapshot.phase != "failed"


def is_ready(snapshot: Snapshot) -> bool:
    """Whether events come in, are kept, and go out, as the configuration demands."""
    return not any(problem.blocking for problem in problems(snapshot))


def state_of(snapshot: Snapshot, found: tuple[Problem, ...]) -> str:
    """`ok`, `warning` (ready, but have a look), `trouble` (not ready); or the phase, if not `running`."""
    if snapshot.phase != "running":
        return snapshot.phase
    if any(problem.blocking for problem in found):
        return "trouble"
    return "warning" if found else "ok"


def _daemon(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.phase == "failed":
        text = f"A part of tdbwatch died ({snapshot.failure}): restart it, and report the log's traceback."
        yield Problem("daemon", "", text, blocking=True)
    elif snapshot.phase == "stopping":
        yield Problem("daemon", "", "It was told to stop.", blocking=True)
    elif snapshot.phase == "starting":
        yield Problem("daemon", "", "It is starting: not every room was tried yet.", blocking=True)


def _links(snapshot: Snapshot) -> Iterator[Problem]:
    live, wanted = snapshot.links, snapshot.links_wanted
    if not live:
        text = "No connection to ThingsDB: no event can be heard, and what is emitted now is lost to us."
        yield Problem("links", "", text, blocking=True)
    elif live < wanted:
        text = f"{live} of {counted(wanted, 'connection')}: if that node fails too, events are missed."
        yield Problem("links", "", text, blocking=False)
    for node in snapshot.nodes:
        if node.state == "unreachable":
            yield Problem("node", node.address, _unreachable(node, snapshot.taken_us), blocking=False)


def _unreachable(node: NodeView, now_us: int) -> str:
    since = "" if node.since_us is None else f" for {duration((now_us - node.since_us) / 1e6)}"
    return f"Not connected{since}. {_short(node.trouble)}"


def _rooms(snapshot: Snapshot) -> Iterator[Problem]:
    for room in snapshot.rooms:
        if snapshot.links or room.state != "waiting":  # else they wait for a connection, as is said already
            yield from _room(room)


def _room(room: RoomView) -> Iterator[Problem]:
    if room.state != "joined":
        text = f"{ROOM_STATES[room.state]}: its events are missed. {_short(room.reason)}".strip()
        yield Problem("room", f"{room.name} in {room.scope}", text, blocking=room.required)


ROOM_STATES: Final = {
    "leaving": "Joined only on a node that shuts down",
    "waiting": "Not joined",
    "missing": "There is no such room",
    "refused": "ThingsDB refused it",
    "deleted": "The room was deleted",
}


def _sink(sink: SinkView, now_us: int) -> Iterator[Problem]:
    courier = sink.courier
    if text := _failing(sink):
        yield Problem("sink", courier.sink, text, blocking=True, remedy=_remedy(sink))
    elif courier.oldest_us is not None and now_us - courier.oldest_us > BEHIND * 1e6:
        text = f"Its oldest undelivered event was received {ago(courier.oldest_us, now_us)}."
        yield Problem("sink", courier.sink, text, blocking=False)
    letters = sink.dead_letters
    if letters is not None and letters.count:
        text = f"{counted(letters.count, 'dead letter')}: events it never took, kept in the spool."
        text += f" The latest: {_short(letters.last_reason)}"
        yield Problem("sink", courier.sink, text, blocking=False, remedy=REMEDIES["dead letters"])


REMEDIES: Final = {
    "stuck": "Restart the daemon, and mend the plugin.",
    "paused": "Mend the receiver; `tdbwatch spool requeue`, `replay` or a restart tries at once.",
    "probing": "Mend what it talks to; then it goes on by itself.",
    "dead letters": "See `tdbwatch spool list --dead`.",
    "disk": "Make space or mend the disk; do not restart, since what is in memory would be lost.",
    "dropped": "Mend the sink that is behind, or the disk; or raise spool.max_size or max_age.",
}
"""What to do, as docs/operations.md says it at length."""


def _remedy(sink: SinkView) -> str:
    return REMEDIES.get(sink.courier.state, REMEDIES["probing"])


def _failing(sink: SinkView) -> str:
    """What is wrong with the sink as a whole; empty when it delivers."""
    courier = sink.courier
    error = f" {_short(courier.last_error)}" if courier.last_error else ""
    waiting = f"Waiting in the spool: {counted(courier.lag, 'event')}."
    if courier.held_until_us is not None:
        waiting += f" Not tried before {format_time(courier.held_until_us)[11:19]} UTC."
    if courier.state == "stuck":
        return f"The plugin hangs and cannot be interrupted. {waiting}{error}"
    if courier.state == "paused":
        return f"Paused, as it asked for. {waiting}{error}"
    if courier.probing:
        return f"{counted(courier.failures, 'failure')} in a row, so it is only probed. {waiting}{error}"
    return ""


def _spool(snapshot: Snapshot) -> Iterator[Problem]:
    spool = snapshot.spool
    if spool.trouble is not None:
        text = f"The disk does not take events; {spool.held:,} are held in memory. {_short(spool.trouble)}"
        yield Problem("spool", "", text, blocking=True, remedy=REMEDIES["disk"])
    if spool.dropped:
        text = f"{counted(spool.dropped, 'undelivered event')} given up since the start; see the gaps."
        yield Problem("spool", "", text, blocking=False, remedy=REMEDIES["dropped"])


def _gaps(snapshot: Snapshot) -> Iterator[Problem]:
    recent = [gap for gap in snapshot.gaps if snapshot.taken_us - gap.at_us < RECENT_GAP * 1e6]
    if recent:
        text = f"{counted(len(recent), 'gap')} in the last 15 minutes: events may have been missed."
        yield Problem("gap", "", text, blocking=False)


def _short(error: str) -> str:
    line = " ".join(error.split())
    return line if len(line) <= SHOWN_ERROR else line[: SHOWN_ERROR - 4] + " ..."
