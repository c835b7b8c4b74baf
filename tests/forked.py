"""Processes of their own that have imported tdbwatch already, in milliseconds each.

One process imports it and then only forks. A fork has its own arguments, folder, environment, streams,
signals and exit code, and it ends as an interpreter does. Where a claim is about how one starts, tests
start one.
"""

import asyncio
import gc
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

PRELOADED: Final = (
    "tdbwatch.cli.app",
    "tdbwatch.cli.rooms.access",
    "tdbwatch.cli.daemon.loading",
    "tdbwatch.cli.spool.text",
    "tdbwatch.client",
    "tdbwatch.compat.client",
    "tdbwatch.daemon.service",
    "tdbwatch.daemon.routing.route_tests",
    "tdbwatch.daemon.spool.looking.look",
    "tdbwatch.daemon.status.port.server",
    "tdbwatch.node",
    "tdbwatch.sinks.file",
    "tdbwatch.sinks.log",
    "tdbwatch.sinks.webhook.transport",
)
COMMAND: Final = "import sys; from tdbwatch.cli.app import main; sys.exit(main())"
"""The program `tdbwatch`."""


class Forked:
    """A process, as `asyncio.subprocess.Process` shows one. Make them with `Forker.start`."""

    def __init__(self, pid: int, status: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._writer = writer
        self._ending = asyncio.create_task(self._end(), name=f"end of {pid}")

    async def _end(self) -> int:
        self.returncode = os.waitstatus_to_exitcode(int(await self._status.readline()))
        return self.returncode

    async def wait(self) -> int:
        """Wait until it has ended; its exit code, or the signal that ended it, as a negative number."""
        return await asyncio.shield(self._ending)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def close(self) -> None:
        """Once it has ended."""
        await self._ending
        self._writer.close()
        await self._writer.wait_closed()


class Forker:
    """Has the process that forks, which is started when it is needed first.

    Args:
        modules: what it imports; what it has imported, each fork takes leave of at its end.
    """

    def __init__(self, modules: Sequence[str] = PRELOADED) -> None:
        self._modules = modules
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(
        self,
        code: str,
        arguments: Sequence[str | Path],
        *,
        streams: tuple[int, int, int],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Run a program.

        Args:
            code: its text.
            arguments: what follows its name in `sys.argv`.
            streams: descriptors for its standard input, output and error.
            folder: where it runs; without one, here.
            environment: without one, that of this process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            request = json.dumps(
                {
                    "code": code,
                    "arguments": list(map(str, arguments)),
                    "folder": str(folder or Path.cwd()),
                    "environment": dict(os.environ if environment is None else environment),
                }
            )
            socket.send_fds(self._forks(), [request.encode()], [*streams, theirs.fileno()])
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return Forked(int(await reader.readline()), reader, writer)

    async def run(
        self, code: str, arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Run a program to its end: its exit code, what it wrote to standard output and to standard error."""
        with Path(os.devnull).open("rb") as nothing:
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            try:
                streams = (nothing.fileno(), out_end, err_end)
                process = await self.start(code, arguments, streams=streams, environment=environment)
            finally:
                os.close(out_end)
                os.close(err_end)
        try:
            texts = await asyncio.gather(read_all(out), read_all(err))
            return await process.wait(), *texts
        finally:
            process.kill()
            await process.close()

    def close(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(timeout=30)

    def _forks(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-P", __file__, str(theirs.fileno()), *self._modules]
                self._process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
        return self._control


async def reader_of(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """A pipe's end as a stream, and what closes it."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport


async def read_all(fd: int) -> str:
    reader, transport = await reader_of(fd)
    try:
        return (await reader.read()).decode()
    finally:
        transport.close()


def serve(control: socket.socket, modules: Sequence[str]) -> dict[str, Any] | None:
    """Fork for each request; returns it in the process that it asked for, and None once there are no more."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that no fork copies it all by looking for garbage
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 1 << 20, 4)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not message:
            with suppress(ChildProcessError):
                while True:
                    os.wait()
            return None
        if os.fork() == 0:
            control.close()
            return _watched(json.loads(message), descriptors)
        for fd in descriptors:
            os.close(fd)


def _watched(request: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
    """Fork once more, and tell of the end. Returns in the process that was asked for."""
    *streams, status = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(status)
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
        for fd in {*streams} - {0, 1, 2}:
            os.close(fd)
        return request
    for fd in streams:
        os.close(fd)
    os.write(status, f"{pid}\n".encode())
    _, ended = os.waitpid(pid, 0)
    with suppress(OSError):
        os.write(status, f"{ended}\n".encode())
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Run the program, as an interpreter would that was started for it."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    unbuffered = "PYTHONUNBUFFERED" in os.environ
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw = os.fdopen(fd, "wb", 0 if unbuffered else -1, closefd=False)
        stream = io.TextIOWrapper(raw, "utf-8", line_buffering=fd == 2, write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["tdbwatch", *request["arguments"]]
    program = types.ModuleType("__main__")
    sys.modules["__main__"] = program
    exec(compile(request["code"], "<string>", "exec"), program.__dict__)


if __name__ == "__main__":
    asked = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    if asked is not None:
        become(asked)
