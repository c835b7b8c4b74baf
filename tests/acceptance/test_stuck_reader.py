"""Commands that write to who does not read: only the log sink notices, and Ctrl-C ends a tail."""

import asyncio
import fcntl
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tdbwatch.node import Cluster
from tdbwatch.testing import free_port

Until = Callable[[Callable[[], bool], str], Awaitable[None]]


@asynccontextmanager
async def unread(*arguments: Any, stream: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A command of which nobody reads this stream, and the pipe's other end."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "tdbwatch", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, **{stream: writing})  # type: ignore[arg-type]
    os.close(writing)
    try:
        yield process, reading
    finally:
        os.close(reading)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_pipe_that_nobody_empties_holds_up_the_log_sink_alone(
    write_config: Callable[..., Path],
    cluster: Cluster,
    lines: Callable[[str], list[dict[str, Any]]],
    until: Until,
    tmp_path: Path,
) -> None:
    port = free_port()
    config = write_config(
        sinks={
            "console": {"type": "log"},
            "audit": {"type": "file", "path": str(tmp_path / "out" / "audit.jsonl")},
        },
        http={"listen": f"127.0.0.1:{port}"},
        logging={"level": "debug"},
        shutdown={"grace": "500ms"},
    )
    async with unread("--config", config, stream="stderr") as (process, _):
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{port}"
            await _ready(session, base)
            for number in range(3_000):
                cluster.emit("//stuff", "alerts", "x", number, "y" * 500)
            await until(lambda: len(lines("audit.jsonl")) >= 3_000, "the file sink has them all")
            async with session.get(f"{base}/healthz") as answer:
                assert answer.status == 200
            async with session.get(f"{base}/status.json") as answer:
                sinks = {sink["name"]: sink for sink in (await answer.json())["sinks"]}
        assert sinks["console"]["lag"] > 0, "the pipe holds a few dozen lines"
        assert sinks["audit"]["lag"] == 0
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def _ready(session: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"{base}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def test_ctrl_c_ends_a_tail_that_nobody_reads(
    write_config: Callable[..., Path], cluster: Cluster, until: Until
) -> None:
    async with unread("tail", "--config", write_config(), stream="stdout") as (process, reading):
        size = fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)

        def is_full() -> bool:
            cluster.emit("//stuff", "alerts", "x", "y" * size)
            return int.from_bytes(fcntl.ioctl(reading, termios.FIONREAD, bytes(4)), sys.byteorder) >= size

        await until(is_full, "the pipe is full")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 130
