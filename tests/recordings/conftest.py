"""Recorded conversations with real ThingsDB nodes: one frame a line, both roles replay them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.jsonl"))


@dataclass(frozen=True)
class Line:
    """One line of a recording; `kind` and `id` are None for a closed connection."""

    who: str
    conn: str
    frame: bytes

    @property
    def id(self) -> int | None:
        return int.from_bytes(self.frame[4:6], "little") if self.frame else None

    @property
    def kind(self) -> int | None:
        return self.frame[6] if self.frame else None

    @property
    def value(self) -> Any:
        return msgpack.unpackb(self.frame[8:], strict_map_key=False) if self.frame[8:] else None

    @property
    def said(self) -> tuple[int | None, int | None, Any]:
        return self.id, self.kind, self.value


def load(name: str) -> list[Line]:
    lines = (HERE / f"{name}.jsonl").read_text().splitlines()[1:]
    return [Line(row["dir"], row["conn"], bytes.fromhex(row["frame"])) for row in map(json.loads, lines)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", NAMES)


@pytest.fixture
def recording(name: str) -> list[Line]:
    return load(name)
