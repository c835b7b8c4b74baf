"""How a sink is doing as a whole: what is known of that, and what the log says of it, at a sensible rate."""

from collections import Counter, defaultdict
from dataclasses import replace
from shlex import quote
from typing import Any, Final

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.answer import VerdictError
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.settings import SinkHealth
from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.hosting.blame import is_mistake
from tdbwatch.daemon.hosting.faults import say
from tdbwatch.daemon.hosting.hosts import SinkHangsError, SinkStuckError
from tdbwatch.plugin.event import format_time
from tdbwatch.plugin.outcome import Retry
from tdbwatch.redaction import presentable

QUIET: Final = 10.0
"""Seconds between messages about failures that come and go."""
RARELY: Final = 60.0
"""Seconds between messages about what lasts."""
_PERSISTENT: Final = 4
_LOWER_LIMITS: Final = "mend the sink, or give up sooner: retry.max_attempts, retry.max_age"
_MEND_PLUGIN: Final = "mend its plugin, since the mistake is its own; then restart"
_MEND_RECEIVER: Final = "mend what it talks to; then it goes on by itself"
_WAKE: Final = "mend the receiver; `tdbwatch spool wake {} --config FILE` tries at once"


class Health:
    """Is told what a sink does, and logs what people should know of that.

    Of failures in a row numbers 1, 2, 4, 8, ... are logged, and another error than the last. A sink that
    fails and works in turn is logged once in `QUIET` seconds, with the number of failures that were not.

    Attributes:
        facts: what is known; without a last error nothing is wrong.
        stuck: its thread does not come back.
        breaker: whether it may be tried.
    """

    def __init__(self, sink: str, plugin: str, breaker: Breaker, clock: Clock) -> None:
        self.facts = SinkHealth()
        self.stuck = False
        self.breaker = breaker
        self._sink = sink
        self._clock = clock
        self._log = structlog.get_logger("tdbwatch.courier").bind(sink=sink, plugin=plugin)
        self._row = 0
        self._loud = False
        self._probed = False
        self._said = ""
        self._unsaid = Counter[str]()
        self._quiet_until = defaultdict[str, float](lambda: float("-inf"))

    @property
    def now(self) -> SinkHealth:
        """A copy of the facts."""
        return replace(self.facts, failures=self.breaker.failures, probing=self.breaker.open)

    def worked(self, asked: int | None = None) -> None:
        """It did what it should: ends the row. Only after an error there is a need to say so.

        Args:
            asked: the breaker's before the call began.
        """
        self.stuck = False
        if self.breaker.worked(self._clock.monotonic(), asked=asked):
            if self._loud:
                self._log.info("sink.recovered", failures=self._row)
            self._row, self._loud, self._probed = 0, False, False
            self.facts.last_error, self.facts.mistake = None, False

    def erred(self, what: str, error: str, cause: Exception | None = None, **more: Any) -> None:
        """It failed.

        Args:
            what: it failed at, as the log's code.
            cause: what was raised, of which the log has the traceback.
            more: what the log says beside that.
        """
        was_stuck, self.stuck = self.stuck, isinstance(cause, SinkStuckError | SinkHangsError)
        self.facts.last_error, self.facts.mistake = error, cause is not None and is_mistake(cause)
        self._row += 1
        if not self.stuck:
            in_plugin = not isinstance(cause, DeadlineError | VerdictError)
            self._failed(what, error, cause if in_plugin else None, more)
        elif not was_stuck:
            self._loud = True
            remedy = "it blocks; mend the plugin, then restart"
            self._log.error("sink.stuck", error=error, remedy=remedy)

    def _failed(self, what: str, error: str, cause: Exception | None, more: dict[str, Any]) -> None:
        now, rare = self._clock.monotonic(), self._row & (self._row - 1) == 0
        quiet = now < self._quiet_until["sink.failed"]
        lasts = rare and (self._loud or self._row >= _PERSISTENT)
        if lasts or (not quiet and (rare or error != self._said)):
            if unlogged := self._unsaid.pop("sink.failed", 0):
                more["unlogged"] = unlogged
            say(self._log.warning, what, cause, error=error, failures=self._row, **more)
            self._loud, self._said, self._quiet_until["sink.failed"] = True, error, now + QUIET
        elif not self._loud:
            self._unsaid["sink.failed"] += 1

    def probed(self, next_try_us: int | None) -> None:
        """See whether it is only probed, since it failed as a whole too often in a row; said once.

        Args:
            next_try_us: in microseconds since the Unix epoch; None: now.
        """
        breaker = self.breaker
        if self._probed or self.stuck or not breaker.open or breaker.paused is not None:
            return
        self._probed = self._loud = True  # so that its recovery is said, too
        self._log.error(
            "sink.probed",
            failures=breaker.failures,
            error=self.facts.last_error,
            next_try=format_time(next_try_us or int(self._clock.time() * 1e6)),
            remedy=_MEND_PLUGIN if self.facts.mistake else _MEND_RECEIVER,
        )

    def paused(self, asked: Retry) -> None:
        """It asked to be left alone: somebody has to act, so it is said each time that it is rare."""
        error = presentable(asked.reason)
        seconds = self.breaker.pause(self._clock.monotonic(), error, asked.after)
        self.facts.last_error, self.facts.mistake = error, False
        self.stuck = False
        self._row, self._loud = self._row + 1, True
        if self._may_say("sink.paused", QUIET):
            remedy = _WAKE.format(quote(self._sink))
            self._log.error("sink.paused", error=error, seconds=round(seconds), remedy=remedy)
        else:
            self._unsaid["sink.failed"] += 1

    def woken(self) -> None:
        """It is tried at once, since people asked for it to be delivered to."""
        self._quiet_until.pop("sink.paused", None)  # what it answers now is worth a line
        self._log.info("sink.woken", reason="people asked for it")

    def held_up(self, rooms: int, events: int) -> None:
        """Events of so many rooms, which the sink does not take, keep those of all other rooms from it."""
        if self._may_say("sink.held_up", RARELY):
            self._log.error("sink.held_up", waiting=rooms, events=events, remedy=_LOWER_LIMITS)

    def unreadable(self, error: str) -> None:
        """What is next for the sink cannot be read."""
        if self._may_say("spool.read_failed", RARELY):
            self._log.warning("spool.read_failed", error=error)

    def gave_up(self, events: int, reason: str, error: str) -> None:
        """So many more events are dead letters."""
        self._unsaid["sink.dead_letter"] += events
        if self._may_say("sink.dead_letter", QUIET):
            events = self._unsaid.pop("sink.dead_letter")
            self._log.error("sink.dead_letter", events=events, reason=reason, error=error)

    def _may_say(self, code: str, seconds: float) -> bool:
        """Whether it is time to say this; if so, it is not for so many seconds."""
        now = self._clock.monotonic()
        if now < self._quiet_until[code]:
            return False
        self._quiet_until[code] = now + seconds
        return True
