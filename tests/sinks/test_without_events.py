"""Sinks that need nothing but records are given no events: nobody makes any."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.plugin import DELIVERED, Event
from tdbwatch.plugin.batch import Batch
from tdbwatch.plugin.event import Header
from tdbwatch.sinks.file import FileSink


class Some:
    """Events that are never made."""

    def __init__(self, room: str, *names: str) -> None:
        self.sent = [Event.create(room, name, [n]) for n, name in enumerate(names)]
        self.count = len(names)

    @property
    def events(self) -> list[Event]:
        raise AssertionError("an event was made")

    @property
    def lines(self) -> list[bytes]:
        return [event.json() for event in self.sent]

    @property
    def headers(self) -> list[Header]:
        """Neighbours of one name share one."""
        made = {e.event: Header(e.kind, e.received_us, e.scope, e.room, e.event) for e in self.sent}
        return [made[event.event] for event in self.sent]


@pytest.fixture
def parts() -> list[Some]:
    return [Some("a", "x", "x", "y"), Some("b", "x"), Some("a", "y", "x")]


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("all", {"all": [0, 1, 2, 3, 4, 5]}),
        ("{room}", {"a": [0, 1, 2, 4, 5], "b": [3]}),
        ("{scope}/{room}-{event}", {"stuff/a-x": [0, 1, 5], "stuff/a-y": [2, 4], "stuff/b-x": [3]}),
    ],
)
@pytest.mark.parametrize("fsync", ["batch", "always"])
async def test_files_are_chosen_by_what_neighbours_have_in_common(
    tmp_path: Path,
    make: Callable[..., FileSink],
    parts: list[Some],
    path: str,
    files: dict[str, list[int]],
    fsync: str,
) -> None:
    sink = make(path=f"{tmp_path}/{path}", fsync=fsync)
    assert await sink.deliver(Batch(parts)) == [DELIVERED] * 6
    await sink.close()
    records = [line for part in parts for line in part.lines]
    for name, indexes in files.items():
        assert (tmp_path / name).read_bytes().splitlines() == [records[index] for index in indexes]


async def test_a_batch_of_records_is_one_request(endpoint: Any, opened: Any, parts: list[Some]) -> None:
    sent = [event for part in parts for event in part.sent]
    async with opened(format="batch") as sink:
        assert await sink.deliver(Batch(parts)) == [DELIVERED] * 6
    [request] = endpoint.received
    assert json.loads(request.body) == [event.record() for event in sent]
    assert request.headers["webhook-id"] == f"{sent[0].id}_{sent[-1].id}_6"
