"""What tests of the file sink share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdbwatch.plugin import Event
from tdbwatch.sinks.file import FileSink

Make = Callable[..., FileSink]


def event(room: str = "alerts", name: str = "disk-full", *args: Any) -> Event:
    return Event.create(room, name, ["db1", 91, *args])


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def tidy(sink: FileSink) -> None:
    assert sink._tidier is not None
    assert sink._tidier.wait(10)
