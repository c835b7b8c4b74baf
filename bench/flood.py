"""Millions of events as fast as a socket takes them: none is dropped, and memory stays as it is."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.pipeline import daemon
from bench.plan import Plan
from bench.processes import ServerProcess, server
from bench.server import BLOCK
from bench.stream import EVENT
from bench.table import Row

_LIMIT: Final = 300.0
"""Seconds for one flood."""
_decode: Final = msgspec.json.Decoder().decode


def run(plan: Plan) -> list[Row]:
    """Into a file, alone, and beside a webhook sink whose receiver answers nothing."""
    with server() as source, _mute() as port:
        mute = f'mute: {{type: webhook, url: "http://127.0.0.1:{port}/"}}'
        return [
            *_flood(source, plan.flood, "alone", []),
            *_flood(source, plan.flood, "beside a mute one", [mute]),
        ]


def _flood(source: ServerProcess, count: int, name: str, more: list[str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = daemon(
            Path(folder),
            [source.port],
            sinks=1,
            more_sinks=more,
            count=count,
            limit=_LIMIT,
            order=lambda: source.blast(count),
        )
        missing = _missing(Path(folder) / "out" / "0.jsonl", count)
    return [
        Row("flood", f"{count:,} events, {name}", count / found["wall"], "events/s"),
        Row("flood", f"{name}: not in the file, or out of order", missing, "events", "< 1"),
        Row("flood", f"{name}: peak memory", found["peak_rss"] / 1e6, "MB", "< 250"),
    ]


def _missing(path: Path, count: int) -> int:
    """How many of the events are not where they should be in the file."""
    place, wrong = 0, 0
    with path.open("rb") as file:
        for line in file:
            record = _decode(line)
            if record["kind"] == "event" and record["event"] == EVENT:
                wrong += record["args"][3] != place % BLOCK
                place += 1
    return wrong + abs(count - place)


@contextmanager
def _mute() -> Iterator[int]:
    """A port where connections are taken and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]
