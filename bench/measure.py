"""What workers measure of themselves."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def options() -> dict[str, Any]:
    """What the parent asked for."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def ready() -> None:
    """Tell the parent that events may come."""
    print("ready", flush=True)


def report(**results: Any) -> None:
    """Tell the parent what was found out."""
    print(json.dumps(results), flush=True)


@dataclass(slots=True)
class Watch:
    """Wall clock and CPU time, in seconds, between `start` and `stop`."""

    wall: float = 0.0
    cpu: float = 0.0

    def start(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rss() -> int:
    """Resident memory of this process now, in bytes."""
    return _status("VmRSS:") * 1024


def peak_rss() -> int:
    """The most that it ever was."""
    return _status("VmHWM:") * 1024


def waits() -> int:
    """How often this process went to sleep so far: each time it wakes costs a little."""
    return _status("voluntary_ctxt_switches:")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise KeyError(key)
