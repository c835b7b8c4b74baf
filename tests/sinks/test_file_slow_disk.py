"""A slow disk: what takes long is left for the next call, and no call takes longer than it may."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.plugin import DELIVERED
from tdbwatch.sinks.file import appender
from tdbwatch.testing import ManualClock

from .file_kit import Make, event, ids


@pytest.mark.parametrize(("path", "fsync"), [("all.jsonl", "always"), ("{event}.jsonl", "batch")])
async def test_on_a_slow_disk_what_takes_long_is_left_for_the_next_call(
    tmp_path: Path, make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, path: str, fsync: str
) -> None:
    """A batch that takes longer than the sink's `timeout` would come again and again, all of it."""
    seconds = [0.0]

    def slow(real: Callable[[int], None]) -> Callable[[int], None]:
        return lambda fd: (seconds.__setitem__(0, seconds[0] + 0.02), real(fd))[1]

    monkeypatch.setattr(clock, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(appender, "_sync", slow(appender._sync))
    monkeypatch.setattr(os, "fsync", slow(os.fsync))
    batch = [event(name=f"e{n:03}") for n in range(500)]
    sink, done = make(path, fsync=fsync), 0
    while done < len(batch):
        begin = seconds[0]
        outcomes = await sink.deliver(batch[done:])
        assert outcomes == [DELIVERED] * len(outcomes)
        assert seconds[0] - begin < 4
        done += len(outcomes)
    assert [one for file in sorted(tmp_path.iterdir()) for one in ids(file)] == [one.id for one in batch]


async def test_a_quick_disk_is_waited_for_once_for_each_of_many_files(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    batch = [event(f"r{n % 200}") for n in range(2000)]
    sink = make()
    assert await sink.deliver(batch) == [DELIVERED] * 2000
    monkeypatch.setattr(appender, "_sync", synced.append)
    assert await sink.deliver(batch) == [DELIVERED] * 2000
    assert len(synced) == 200


async def test_a_disk_that_becomes_slow_is_noticed_within_one_call(
    make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, pace, real = [0.0], [0.0], appender._sync
    monkeypatch.setattr(clock, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(
        appender, "_sync", lambda fd: (seconds.__setitem__(0, seconds[0] + pace[0]), real(fd))[1]
    )
    batch = [event(f"r{n}") for n in range(300)]
    sink = make()
    assert await sink.deliver(batch) == [DELIVERED] * 300
    pace[0] = 0.02
    assert len(await sink.deliver(batch)) == 300  # who could know
    assert len(await sink.deliver(batch)) == 64
