"""Where the monitoring files are, and what they may name."""

import re
from pathlib import Path

from tdbwatch.daemon.status.metrics import DEFINITIONS

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
OPERATIONS = ROOT / "docs" / "operations.md"
PROCESS = {
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
}
"""What prometheus-client says of any process, as far as it is used."""


def metric_names() -> set[str]:
    """What may be asked for; a histogram is asked for by its parts."""
    parts = ("_bucket", "_count", "_sum")
    names = {
        name
        for each in DEFINITIONS
        for name in ([each.name + part for part in parts] if each.type == "histogram" else [each.name])
    }
    return names | PROCESS


def metrics_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:tdbwatch|process)_\w+", bare))
