"""Running a program: with input, a deadline, and an end to its output."""

import asyncio
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_GRACE: Final = 2.0
"""Seconds between asking a program to end and ending it."""
_USUAL_FILES: Final = 1024
_LAST_WORDS: Final = 0.2
"""Seconds to read on after the end: what a program left running may hold its output open."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended: its exit code, or the negated signal that ended it, and its output's beginning."""

    code: int
    output: bytes


async def run(
    command: Sequence[str],
    stdin: bytes,
    *,
    cwd: str,
    env: Mapping[str, str],
    deadline: float,
    keep: int,
) -> Result:
    """Run a program to its end.

    Nothing that it started is left behind when it takes too long: it leads a process group of its own.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end within `deadline` seconds; by now it has.
    """
    output = _Output(keep)
    try:
        process = await _started(command, cwd, env, output)
        try:
            async with asyncio.timeout(deadline):
                await _write(process, stdin)
                await process.wait()
        finally:
            await _end(process)
    finally:
        await output.close()
    assert process.returncode is not None
    return Result(process.returncode, bytes(output.kept))


class _Output(asyncio.Protocol):
    """Reads all that a program says, so that it never waits for us, and keeps the beginning.

    The pipe is our own: asyncio's would make `wait` wait for whatever the program left running as well.
    """

    def __init__(self, keep: int) -> None:
        self.kept = bytearray()
        self._keep = keep
        self._ended = asyncio.Event()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.kept += data[: self._keep - len(self.kept)]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        self._ended.set()

    async def close(self) -> None:
        """Take what was said last, and close the pipe."""
        if self._transport is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._ended.wait()
        self._transport.close()


async def _started(
    command: Sequence[str], cwd: str, env: Mapping[str, str], output: _Output
) -> asyncio.subprocess.Process:
    """As `_start`; if it is cancelled, whatever was started is ended.

    asyncio would end the program alone, and then wait for what that has started.
    """
    starting = asyncio.ensure_future(_start(command, cwd, env, output))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(OSError):
            await _end(await starting)
        raise


async def _start(
    command: Sequence[str], cwd: str, env: Mapping[str, str], output: _Output
) -> asyncio.subprocess.Process:
    reading, writing = os.pipe()
    try:
        await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(reading, "rb", 0))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=writing,
            stderr=writing,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
    finally:
        os.close(writing)
    _limit_files(process.pid)
    return process


def _limit_files(pid: int) -> None:
    """Give it the usual soft limit: ours is raised, and some close every file up to it, or use select."""
    with suppress(OSError, ValueError):  # it may have ended already
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(soft, _USUAL_FILES), hard))


async def _write(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Give the program its input; one that does not read it may have its reasons."""
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """If the program still runs, end it, and whatever it started."""
    if process.returncode is not None:
        return
    _signal(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        _signal(process.pid, signal.SIGKILL)  # its children too, which may not care for SIGTERM
    await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
