"""Readiness as it changes: the log, systemd and `/readyz` say the same, since all ask the same snapshot."""

from collections.abc import Callable
from typing import Final

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.status.health import Problem, problems, state_of
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.system.systemd import Notifier
from tdbwatch.daemon.words import counted

INTERVAL: Final = 1.0
"""Seconds between two looks."""
QUIET: Final = 10.0
"""Seconds between two lines about other reasons for the same: not being ready."""
SHOW_AGAIN: Final = 30.0
"""Seconds between two updates of systemd's status line while nothing changes but figures."""
_NAMED: Final = 3
_LONGEST: Final = 200


class Readiness:
    """Looks at the daemon, and tells when it becomes ready, when it is so no more, and why.

    Args:
        glance: the daemon as it is now, from memory alone.
        greeting: what the line about being ready says beside that.
    """

    def __init__(
        self, glance: Callable[[], Snapshot], notifier: Notifier, clock: Clock, **greeting: str
    ) -> None:
        self._glance = glance
        self._notifier = notifier
        self._clock = clock
        self._greeting = greeting
        self._ready = False
        self._was_ready = False
        self._said: tuple[str, ...] = ()
        self._quiet_until = float("-inf")
        self._shown: tuple[str, ...] = ()
        self._show_again_at = float("-inf")
        self._log = structlog.get_logger("tdbwatch")

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await self._clock.sleep(INTERVAL)

    def reloading(self) -> None:
        """A reload begins."""
        if self._was_ready:
            self._notifier.reloading()

    def reloaded(self) -> None:
        """It ended, well or not; systemd hears so, if it heard of readiness before."""
        self.look()
        if self._was_ready:
            snapshot = self._glance()
            self._notifier.ready(status_line(snapshot, problems(snapshot)))

    def look(self) -> None:
        """Tell what has changed."""
        snapshot = self._glance()
        found = problems(snapshot)
        reasons = tuple(f"{problem.subject} {problem.text}" for problem in found if problem.blocking)
        status = status_line(snapshot, found)
        if not reasons:
            self._is_ready(status)
        elif state_of(snapshot, found) == "trouble":
            self._is_not(reasons, tuple(problem for problem in found if problem.blocking))
        self._show(status, (state_of(snapshot, found), *(problem.subject for problem in found)))

    def _show(self, status: str, what: tuple[str, ...]) -> None:
        """To systemd: at once when something else is wrong, now and then for the figures in it."""
        now = self._clock.monotonic()
        if what != self._shown or now >= self._show_again_at:
            self._shown, self._show_again_at = what, now + SHOW_AGAIN
            self._notifier.status(status)

    def _is_ready(self, status: str) -> None:
        if not self._ready:
            self._log.info("daemon.ready", summary=status, **self._greeting)
        if not self._was_ready:
            self._notifier.ready(status)
        self._ready, self._was_ready, self._said = True, True, ()

    def _is_not(self, reasons: tuple[str, ...], blocking: tuple[Problem, ...]) -> None:
        now, subjects = self._clock.monotonic(), tuple(problem.subject for problem in blocking)
        if self._ready or (subjects != self._said and now >= self._quiet_until):
            remedy = " ".join(dict.fromkeys(one.remedy for one in blocking[:_NAMED] if one.remedy))
            self._log.error(
                "daemon.not_ready", reasons=[*reasons[:_NAMED]], count=len(reasons), remedy=remedy
            )
            self._said, self._quiet_until = subjects, now + QUIET
        self._ready = False


def status_line(snapshot: Snapshot, found: tuple[Problem, ...]) -> str:
    """How it is, in one line: what `systemctl status` shows."""
    state = state_of(snapshot, found)
    if state in {"starting", "stopping"}:
        return {"starting": "starting: connecting to ThingsDB", "stopping": "stopping"}[state]
    blocking = [problem for problem in found if problem.blocking]
    if blocking:
        more = f" (and {len(blocking) - 1:,} more)" if len(blocking) > 1 else ""
        text = f"{blocking[0].subject} {blocking[0].text}"
        return "not ready: " + (text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ...") + more
    joined = sum(room.state == "joined" for room in snapshot.rooms)
    nodes = ", ".join(node.address for node in snapshot.nodes if node.state in {"connected", "leaving"})
    text = f"ready: connected to {nodes}; {joined} of {counted(len(snapshot.rooms), 'room')} joined"
    worth = (problem for problem in found if not problem.is_doubt)
    names = list(dict.fromkeys(problem.subject.removesuffix(":") for problem in worth))
    more = ", ..." if len(names) > _NAMED else ""
    return text + (f"; needs a look: {', '.join(names[:_NAMED])}{more}" if names else "")
