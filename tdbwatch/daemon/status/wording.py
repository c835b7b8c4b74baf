"""Words and colours for states, the same on the page and in `tdbwatch top`. Pure.

They take plain values, since `top` has them from /status.json.
"""

from typing import Final

HEADLINES: Final = {
    "ok": ("ok", "All is well", "Events come in, are kept, and go out."),
    "warning": ("warning", "Working, but have a look", "Events flow. This needs attention:"),
    "trouble": ("trouble", "Trouble", "Not ready, because of this:"),
    "starting": ("idle", "Starting", "Connecting to ThingsDB."),
    "stopping": ("idle", "Stopping", "It ends by itself; there is nothing to do."),
    "failed": ("trouble", "Broken", "A part of it died; it ends, to be started again."),
}
"""Of the state of the whole: its colour, and what is said."""

ROOM_STATES: Final = {
    "leaving": "Joined only on a node that shuts down",
    "waiting": "Not joined",
    "missing": "There is no such room",
    "refused": "ThingsDB refused it",
    "deleted": "The room was deleted",
    "mute": "It cannot be emitted",
}
NODE_COLOURS: Final = {
    "connected": "ok",
    "leaving": "warning",
    "unreachable": "trouble",
    "refusing": "trouble",
}
_SINK_COLOURS: Final = {
    "running": "ok",
    "retrying": "warning",
    "refusing": "trouble",
    "stuck": "trouble",
    "paused": "trouble",
}


def room_reason(state: str, reason: str) -> str:
    """Why a room is not joined; empty where that is as it should be."""
    return "" if state in {"joined", "left"} else reason or ROOM_STATES[state]


def room_colour(state: str, *, required: bool) -> str:
    """How bad a room's state is."""
    if state in {"joined", "left"}:
        return "ok" if state == "joined" else "idle"
    return "trouble" if required else "warning"


def sink_state(state: str, *, probing: bool) -> tuple[str, str]:
    """A sink's state in a word, and how bad it is."""
    word = "probing" if probing and state == "retrying" else state
    return word, "trouble" if probing else _SINK_COLOURS.get(state, "idle")


def sink_error(state: str, last_error: str | None, last_refusal: str, letter: str) -> str:
    """What a sink said last that was not fine; `letter` is why it has its latest dead letter."""
    if state == "refusing":
        return last_refusal
    return last_error or (f"Dead letter: {letter}" if letter else "")


def sum_up(live: int, wanted: int) -> str:
    """How many connections there are."""
    return f"{live} of {wanted} connected"
