"""A sign of life on disk, so that the next start knows since when nobody listened to which room."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tdbwatch.clock import Clock

INTERVAL: Final = 2.0
"""Seconds between beats, at most: by so much a gap may seem longer than it was."""

Room = tuple[str, str]
"""Scope and name."""


@dataclass(frozen=True, slots=True)
class Beat:
    """When the daemon was last known to live. Times in seconds since the Unix epoch.

    Attributes:
        silent: the rooms that were not heard then, and since when.
    """

    time: float
    silent: Mapping[Room, float] = field(default_factory=dict)

    def heard(self, room: Room) -> float:
        """Until when the room was heard."""
        return self.silent.get(room, self.time)


class Pulse:
    """A file beside the spool that holds the last beat."""

    def __init__(self, spool: Path, clock: Clock) -> None:
        self._path = spool.with_name(spool.name + ".alive")
        self._clock = clock
        self._writing = threading.Lock()

    def last(self) -> Beat | None:
        """What the daemon said that ran before; None if there was none."""
        try:
            value = json.loads(self._path.read_text("utf-8"))
            if isinstance(value, int | float):  # as the first versions wrote it
                return Beat(float(value))
            silent = {(scope, name): float(since) for scope, name, since in value["silent"]}
            return Beat(float(value["time"]), silent)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    async def beat(self, silent: Mapping[Room, float], time: float | None = None) -> None:
        """Say that the daemon lives. A disk that does not take it, or hangs, must not harm anything.

        Args:
            time: when that was known to be so; None: now.
        """
        now = self._clock.time() if time is None else time
        rooms = [[scope, name, round(since, 3)] for (scope, name), since in silent.items()]
        text = json.dumps({"time": round(now, 3), "silent": rooms})
        await asyncio.to_thread(self._write, text.encode())

    def _write(self, text: bytes) -> None:
        """One at a time: a beat that is given up on may still be under way."""
        with self._writing, contextlib.suppress(OSError):
            self._replace(text)

    def _replace(self, text: bytes) -> None:
        """As a whole or not at all: on a full disk the beat before must stay, or the gap has no beginning."""
        new = self._path.with_name(self._path.name + ".new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            complete = os.write(file, text) == len(text)
        finally:
            os.close(file)
        if complete:
            new.replace(self._path)
