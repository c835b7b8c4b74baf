"""What to do about each problem; docs/operations.md says it at length. Commands stand in backticks. Pure."""

from collections.abc import Iterable
from shlex import quote
from typing import Final

from tdbwatch.daemon.plugins.registry import PluginProblem
from tdbwatch.daemon.plugins.sources import BUILT_IN
from tdbwatch.daemon.status.snapshot import SinkView, SpoolView
from tdbwatch.daemon.status.spans import Span
from tdbwatch.exceptions import ForbiddenError, NodeError

LINKS: Final = (
    "Start a node, or mend the network to it: it is connected to by itself. "
    "If thingsdb.nodes or thingsdb.auth is wrong, correct it and reload."
)
FEWER_LINKS: Final = "Start another node, or mend the network to it: it is connected to by itself."
NODE: Final = (
    "Start the node, or mend the network to it: it is tried again by itself. "
    "If its address or thingsdb.auth is wrong, correct it and reload."
)
LOGIN: Final = (
    "See that the user or token of thingsdb.auth exists, and has not expired; "
    "it is asked again every 30 seconds at most, with what the secret's file holds then."
)
DISK: Final = (
    "Make space or mend the disk, or the sink that is behind, since what it gets makes space; "
    "do not restart, since what is in memory would be lost."
)
DISK_AT_STOP: Final = "Make space at once: what is in memory is lost when it ends."
NO_ROOM: Final = "Mend one of the rooms, as is said of each: it is joined by itself then."
UNROUTED: Final = (
    "See which with `tdbwatch spool list --unrouted --config FILE`, and add a route for them and reload; "
    "to drop them on purpose, one with `to: []` and `stop: true`."
)
ABSENCE: Final = "See why nothing emits it; `tdbwatch tail ROOM --config FILE` shows what comes."
DROPPED: Final = "Mend the sink that is behind, or the disk; or raise spool.max_size or max_age, and reload."
CANARY: Final = (
    "Make its room in ThingsDB, and it is joined by itself; or correct thingsdb.canary, and reload."
)
MUTE: Final = "Mend what ThingsDB complains of; it is emitted again by itself."
DOUBTS: Final = "`tdbwatch check --config FILE` lists them all."
HTTP: Final = "Change http.listen, or end the other program; it is tried again by itself, and events flow."
REFUSED: Final = (
    "Mend the file, and see with `tdbwatch check --config FILE`; then `tdbwatch reload --config FILE`."
)
RESTART: Final = (
    "Restart when it suits: what is emitted meanwhile is missed. Until then these hold as before."
)
FAILED: Final = "Restart it, and report the log's traceback."
STALLED: Final = "Restart it, unless systemd's watchdog does, and report it."
STUCK: Final = "Restart the daemon, and mend the plugin."
_GAP: Final = (
    "Ask for what was emitted meanwhile where it came from, since ThingsDB does not keep it; "
    "the gap records say when, and why."
)
_ROOMS: Final = {
    "leaving": "Start another node, or mend the network to it: the room is joined there by itself.",
    "waiting": "See that ThingsDB answers: the room is tried again by itself.",
    "missing": "Make the room in ThingsDB, and it is joined by itself; or correct it in rooms, and reload.",
    "deleted": "Make the room again, and it is joined by itself; or take it out of rooms, and reload.",
}
STUCK_FUNCTION: Final = "Mend what it waits for; if the call does not come back then, restart the daemon."
SLOW_FUNCTION: Final = "Have it answer from memory: it is asked for each event, and again by each sink."
_PLUGIN: Final = "Mend the plugin, or name it in plugins.disable; then restart."


def reader(path: str) -> str:
    """What to do about a process that keeps the spool's log from being emptied."""
    return f"See who reads it (`fuser -v {quote(path)}`), and end that process; the log is emptied by itself."


def route(event_id: str) -> str:
    """What to do about a route whose expressions fail for events."""
    look = f"See what the event holds (`tdbwatch spool show {event_id} --config FILE`)"
    return f"{look}, and ask with has(...) first, or set on_error: match."


def command(words: str, spool: SpoolView, sink: str) -> str:
    """A command about the spool that can be pasted into a shell."""
    return f"`tdbwatch {words} --sink {quote(sink)} --spool {quote(spool.path)}`"


def wake(sink: SinkView, spool: SpoolView) -> str:
    """The command that has a sink tried now."""
    return f"`tdbwatch spool wake {quote(sink.courier.sink)} --spool {quote(spool.path)}`"


def room(state: str, scope: str, error: Exception | None, *, by_code: bool) -> str:
    """For a room that is not joined; empty for any other.

    Args:
        state: as in `RoomView`.
        scope: its collection.
        error: what the latest try to join it ended with.
        by_code: whether code in ThingsDB says which room it is.
    """
    return _refused(scope, error, by_code) if state == "refused" else _ROOMS.get(state, "")


def followed(asked: str, now: str) -> str:
    """For a collection that was renamed."""
    return f"Write {now} in place of {asked} in rooms or thingsdb.scope, and reload; or rename it back."


def canary(state: str, scope: str, error: Exception | None) -> str:
    """For a canary that has no room; empty for any other."""
    return CANARY if state in {"missing", "deleted"} else room(state, scope, error, by_code=False)


def _refused(scope: str, error: Exception | None, by_code: bool) -> str:
    if isinstance(error, ForbiddenError):
        if error.privilege is None:
            return "Put the room into the user's whitelist in ThingsDB: it is tried again by itself."
        return f"Grant the user {error.privilege} on {scope}: the room is tried again by itself."
    if isinstance(error, NodeError):
        return "Wait until the node is ready for it: the room is tried again by itself."
    if by_code:
        return (
            "Mend in ThingsDB what the room's code asks for: it is tried again by itself. "
            "If the code is wrong, correct it in rooms and reload."
        )
    return "Mend what ThingsDB complains of: the room is tried again by itself."


def behind(sink: SinkView, spool: SpoolView) -> str:
    """For a sink that works, but is slow, or waits for a room's event."""
    shown = command("spool list --limit 0", spool, sink.courier.sink)
    return f"See what waits, and why, with {shown}; speed up what it talks to, or raise its batch.count."


def dead_letters(sink: SinkView, spool: SpoolView) -> str:
    """For events that a sink never took."""
    name = sink.courier.sink
    seen, again = command("spool list --dead", spool, name), command("spool requeue", spool, name)
    return f"See {seen}; once the sink is mended, {again} delivers them again."


def failing(sink: SinkView, spool: SpoolView) -> str:
    """For a sink that takes nothing."""
    courier = sink.courier
    if courier.state == "stuck":
        return STUCK
    if courier.state == "paused":
        return (
            f"Mend the receiver; then {wake(sink, spool)} has it tried at once. "
            "If its credentials have to change here, write them to their file, which is read by itself; "
            "what stands in the configuration, with a reload."
        )
    if courier.state == "refusing":
        again = command("spool requeue", spool, courier.sink)
        return (
            f"Mend why it refuses them, such as a token that was changed; then {again} delivers them again."
        )
    if courier.plugin not in BUILT_IN and courier.health.mistake:
        return f"Mend the plugin that offers {sink.type}, since the mistake is its own; then restart."
    return f"Mend what it talks to; then it goes on by itself, or at once after {wake(sink, spool)}."


def left_behind(sink: str) -> str:
    """For what a sink left that is gone from the configuration; NEW and FILE are for people to fill in."""
    old = quote(sink)
    return (
        f"If it was renamed, `tdbwatch spool move {old} NEW --config FILE` gives all of it to the new one; "
        f"else `tdbwatch spool drop --sink {old} --yes --config FILE` gives it up."
    )


def gaps(spans: Iterable[Span]) -> str:
    """For times in which events were missed or dropped."""
    return DROPPED if {span.cause for span in spans} == {"spool"} else _GAP


def plugin(problem: PluginProblem) -> tuple[str, str]:
    """What is wrong with a plugin, and what to do."""
    own = problem.remedy
    return problem.placed, f"{own[0].upper()}{own[1:]}; then restart." if own else _PLUGIN
