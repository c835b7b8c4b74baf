"""Takes up the configuration anew whenever somebody asks: one reload after the other, never two at once.

Whoever asks while one is under way has the next one, together with all others who do: the file is read after
they asked, and once for all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from tdbwatch.blocking import in_own_thread
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import Config, ConfigError, Problem
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.reload.plan import Plan
from tdbwatch.daemon.reload.verdict import Verdict

READ_SECONDS: Final = 30.0
"""Seconds for the files; a disk that hangs must not keep later reloads waiting."""
_MOST_LINES: Final = 20
"""Problems that are logged one by one."""


class Reloader:
    """Reads, has it taken up, and tells what came of it.

    Args:
        read: gives the configuration as it is written now, or raises `ConfigError`; blocks.
        take_up: makes it the one in use, and says what that changed; raises `ConfigError` if that cannot be,
            and then nothing is changed.
        in_use: the configuration to begin with; keeps the verdict.
        begins: called when a reload does.
        tell: told of the verdict.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        take_up: Callable[[Config], Awaitable[Plan]],
        in_use: InUse,
        begins: Callable[[], None],
        tell: Callable[[Verdict], None],
        clock: Clock,
    ) -> None:
        self._read = read
        self._take_up = take_up
        self._in_use = in_use
        self._begins = begins
        self._tell = tell
        self._clock = clock
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Verdict] | None = None
        self._log: Any = structlog.get_logger("tdbwatch.config")

    def ask(self) -> "asyncio.Task[Verdict]":
        """Have what is written now taken up; the task ends with the verdict. Keep it: nobody else does."""
        if self._next is None:
            self._next = asyncio.create_task(self._reload(), name="tdbwatch-reload")
        return self._next

    async def _reload(self) -> Verdict:
        async with self._turn:
            self._next = None  # who asks from now on may have changed the file since
            self._begins()
            return await self._once()

    async def _once(self) -> Verdict:
        before = self._in_use
        try:
            config = await self._found()
            plan = await self._take_up(config)
        except ConfigError as error:
            verdict = Verdict(False, self._now(), before.config.digest, tuple(error.problems))
        else:
            verdict = Verdict(
                True, self._now(), config.digest, (), plan.changes, plan.restart, plan.config.warnings
            )
        self._in_use.verdict = verdict
        self._say(verdict)
        self._tell(verdict)
        return verdict

    async def _found(self) -> Config:
        """What is written now. Whatever is the matter with that, the daemon goes on with what it has."""
        try:
            reading = in_own_thread(self._read, "tdbwatch-reload")
            return await within(self._clock, READ_SECONDS, reading)
        except ConfigError:
            raise
        except DeadlineError as error:
            remedy = "see whether the disks of the configuration and of its secrets answer; then reload again"
            message = f"the disk does not answer within {error.seconds:g} s"
            raise ConfigError([Problem("", 0, 0, "", message, remedy)]) from error
        except Exception as error:
            self._log.error("config.unreadable", exc_info=error)
            message = f"it could not be read, by a mistake of ours: {type(error).__name__}"
            raise ConfigError([Problem("", 0, 0, "", message, "report the log's traceback")]) from error

    def _say(self, verdict: Verdict) -> None:
        if not verdict.accepted:
            for problem in verdict.problems[:_MOST_LINES]:
                self._log.error("config.refused", reason=problem.message, **_place(problem))
            self._log.error("config.not_reloaded", problems=len(verdict.problems), remedy=_REFUSED)
            return
        for doubt in verdict.warnings:
            self._log.warning("config.doubtful", reason=doubt.message, **_place(doubt))
        if verdict.restart:
            self._log.warning("config.restart_needed", keys=list(verdict.restart), remedy=_RESTART)
        self._log.info("config.reloaded", changes=list(verdict.changes), hash=verdict.digest[:12])

    def _now(self) -> int:
        return int(self._clock.time() * 1e6)


_REFUSED: Final = "nothing was changed, what was in use is still; mend the file and reload it again"
_RESTART: Final = "restart when it suits: what is heard meanwhile is a gap; until then these hold as before"


def _place(problem: Problem) -> Mapping[str, str]:
    return {"key": problem.path, "place": problem.place, "remedy": problem.hint}
