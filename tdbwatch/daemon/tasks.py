"""The daemon's tasks: each has a name, and somebody who notices when it dies."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog


class Tasks:
    """Begins tasks and watches them.

    Attributes:
        failed: ends with an exception when one of them died of a mistake of ours.
    """

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._all: set[asyncio.Future[Any]] = set()
        self._roles: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("tdbwatch")

    def begin(self, role: str, work: Coroutine[Any, Any, None]) -> None:
        """Have this done from now on, instead of what had that role."""
        self.end(role)
        self._roles[role] = self.spawn(work, f"tdbwatch-{role}")

    def end(self, role: str) -> None:
        """Have nothing more done in that role."""
        if (task := self._roles.pop(role, None)) is not None:
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Have this done once."""
        task = asyncio.create_task(work, name=name)
        self.watch(task)
        return task

    def watch(self, task: "asyncio.Future[Any]") -> None:
        """Notice when it dies: the daemon then ends loudly rather than live on as a half."""
        if task not in self._all:
            self._all.add(task)
            task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """End all of them."""
        for task in list(self._all):
            task.cancel()

    def _ended(self, task: "asyncio.Future[Any]") -> None:
        self._all.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        name = task.get_name() if isinstance(task, asyncio.Task) else "spool"
        self._log.critical("daemon.part_died", part=name, exc_info=error)
        if not self.failed.done():
            self.failed.set_exception(error)
