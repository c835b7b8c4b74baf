"""Starts the processes of a measurement, and sees that they end."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

LIMIT: Final = 90.0
"""Seconds after which a worker is ended, whatever it waits for, unless it is given another limit."""
LONGEST: Final = 900.0
"""The same for servers."""
START_DELAY_NS: Final = 200_000_000
"""Between an order to several servers and the first event, so that they begin together."""


class ServerProcess:
    """A `bench.server` of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def blast(self, count: int) -> None:
        """See `bench.server`."""
        self._order(f"blast {count}")

    def rooms(self, count: int) -> None:
        """See `bench.server`."""
        self._order(f"rooms {count}")

    def pace(self, rate: int, seconds: float, start_ns: int) -> None:
        """See `bench.server`."""
        self._order(f"pace {rate} {seconds} {start_ns}")

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextmanager
def server(module: str = "bench.server") -> Iterator[ServerProcess]:
    """A server that runs as long as the block does."""
    with _process(module) as process:
        yield ServerProcess(process)


def soon() -> int:
    """A moment, in monotonic nanoseconds, from which all servers can begin to pace."""
    return time.monotonic_ns() + START_DELAY_NS


def work(
    module: str, when_ready: Callable[[], None] = lambda: None, limit: float = LIMIT, **options: Any
) -> dict[str, Any]:
    """What a worker found out: `python -m MODULE OPTIONS` prints `ready`, later its results as JSON.

    It is ended after `limit` seconds.

    Raises:
        RuntimeError: it failed; what it said is on standard error.
    """
    with _process(module, json.dumps(options), limit=limit) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() == "ready":
            when_ready()
            said, _ = process.communicate()
            if process.returncode == 0:
                results: dict[str, Any] = json.loads(said)
                return results
    raise RuntimeError(f"{module} {options} failed")


@contextmanager
def _process(module: str, *arguments: str, limit: float = LONGEST) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(limit, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.communicate()
