"""What a sink talks to in its tests: a real server, which the test starts, stalls, kills and starts again."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self
from unittest import SkipTest

from tdbwatch.testing.processes import children

_TO_START: Final = 20.0
"""Seconds: a database on a busy machine takes its time."""
_TO_END: Final = 20.0
_PLACES: Final = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian has some servers; not every user's PATH has them."""


def free_port() -> int:
    """A port on loopback where nobody listens, for a server that is told where to listen.

    On Linux this process keeps it: until it ends, no other program is given the port, also while the server
    is down. The server must set `SO_REUSEADDR`, as nearly all do.
    """
    nobody = socket.socket()
    nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    nobody.bind(("127.0.0.1", 0))
    port: int = nobody.getsockname()[1]
    if sys.platform == "linux":
        nobody.detach()  # bound for good; it never listens
    else:  # there an address is bound only once
        nobody.close()
    return port


def program_path(name: str, *places: str) -> str:
    """The path of a program.

    Raises:
        SkipTest: it is not installed; the test is skipped, and says so.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES, *places])
    found = shutil.which(name, path=path)
    if found is None:
        raise SkipTest(f"{name} is not installed")
    return found


class Program:
    """A server on loopback, for as long as the `with` block lasts.

    Args:
        command: starts it in the foreground.
        port: where it listens once it is ready.
        folder: where its output goes, to the file `output`.
        user: who it is to run as; databases refuse to run as root.
        ready: whether it can be used, if listening does not mean that.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        folder: Path,
        *,
        user: str | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        self.port = port
        self._command = list(command)
        self._output = folder / "output"
        self._user = user
        self._ready = ready or self._listens
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Return when it is ready.

        Raises:
            RuntimeError: it ends at once, or does not get ready; the message has its output.
        """
        until = time.monotonic() + _TO_START
        while not self._try(until):
            if time.monotonic() >= until:
                raise RuntimeError(f"{self._command[0]} does not start: {self._output.read_text()[-2000:]}")
            time.sleep(0.1)  # after `kill`, what it left behind may be in its way for a moment

    def kill(self) -> None:
        """End it at once, with all that it started, as `SIGKILL` or a power cut does."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(_TO_END)
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def restart(self, seconds: float = 0.0) -> None:
        """Kill it, and start it again after so many seconds."""
        self.kill()
        time.sleep(seconds)
        self.start()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """While it lasts, it keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)
        self._wait_until_it_stands()
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _try(self, until: float) -> bool:
        """Start it, if it does not run; whether it is ready."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the test's own command
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                cwd=self._output.parent,
                start_new_session=True,
            )
        self._guard = _guarding(self._process.pid)
        while self._process.poll() is None and time.monotonic() < until:
            if self._ready():
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        for pid in (self._process.pid, *_below(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_until_it_stands(self) -> None:
        """A signal is sent at once, and heeded by each thread when it next runs."""
        assert self._process is not None, "it does not run"
        until = time.monotonic() + _TO_END
        while not all(map(_stands, (self._process.pid, *_below(self._process.pid)))):
            if time.monotonic() > until:
                raise RuntimeError(f"{self._command[0]} does not stop")
            time.sleep(0.001)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def _guarding(pid: int) -> "subprocess.Popen[bytes]":
    """What ends a process once this one is gone, however that came: a run that is killed leaves none."""
    return subprocess.Popen(  # noqa: S603 - nothing of others is in it
        ["/bin/sh", "-c", 'read _; kill -KILL "$0"', str(pid)], stdin=subprocess.PIPE, start_new_session=True
    )


def _stands(pid: int) -> bool:
    """Whether no thread of it runs, see proc(5) for its states."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # a thread that has ended
            if stat.read_text().rpartition(")")[2].split()[0] not in {"T", "t", "Z", "X"}:
                return False
    return True


def _below(pid: int) -> Iterator[int]:
    """All that a process started; some are no part of its process group."""
    for child in children(pid):
        yield child
        yield from _below(child)
