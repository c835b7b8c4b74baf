"""Files that are open: sinks share what the process may have, and give it back."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.descriptors import Reserve
from tdbwatch.plugin import DELIVERED, Retry
from tdbwatch.sinks.file import budget
from tdbwatch.sinks.file.appender import Appender
from tdbwatch.sinks.file.budget import MOST as MAX_OPEN

from .file_kit import Make, event, ids


async def test_the_file_that_was_not_used_for_longest_is_closed_for_the_next(
    tmp_path: Path, make: Make
) -> None:
    sink = make("{event}")
    for name in [*(f"e{n}" for n in range(MAX_OPEN)), "e0", "one more"]:
        await sink.deliver([event("alerts", name)])
    Appender(str(tmp_path / "e1")).close()
    with pytest.raises(BlockingIOError):
        Appender(str(tmp_path / "e0"))


async def test_file_sinks_share_what_the_process_may_open(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = budget.Budget()
    monkeypatch.setattr("tdbwatch.sinks.file.sink.budget", shared)
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    sinks = [make(f"s{n}/{{event}}.jsonl", fsync="never") for n in range(5)]
    batch = [event(name=f"e{n}") for n in range(64)]
    for _ in range(2):
        for sink in sinks:
            assert await sink.deliver(batch) == [DELIVERED] * 64
    assert sum(len(sink._open_files) for sink in sinks) <= 128
    assert all(len(sink._open_files) > 20 for sink in sinks)
    for sink in sinks:
        await sink.close()
    assert shared.share() == budget.MOST, "who is closed needs none"


async def test_a_sink_that_gets_no_descriptor_closes_some_of_its_own_and_goes_on(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, real = make("{event}.jsonl"), os.open

    def none_left(path: Any, *arguments: Any) -> int:
        if len(sink._open_files) >= 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", none_left)
    assert await sink.deliver([event(name=f"e{n % 7}") for n in range(21)]) == [DELIVERED] * 21
    assert all(len(ids(tmp_path / f"e{n}.jsonl")) == 3 for n in range(7))
    await sink.close()


async def test_a_sink_gives_its_descriptors_back_when_others_need_them(
    tmp_path: Path, make: Make, none_left: Any, held: Reserve
) -> None:
    sink = make("{event}.jsonl")
    await sink.open()
    batch = [event(name=f"e{n}") for n in range(5)]
    assert await sink.deliver(batch) == [DELIVERED] * 5
    share = budget.budget.share()
    with none_left():
        assert not held.look()
        await asyncio.sleep(0)
        assert not sink._open_files
        assert held.look()
        assert budget.budget.share() <= max(1, share // 2)
        assert await sink.deliver(batch) == [DELIVERED] * 5
    await sink.close()
    assert not held.givers


async def test_want_of_descriptors_costs_no_event_an_attempt(
    tmp_path: Path, make: Make, none_left: Any
) -> None:
    sink = make()
    with none_left():
        (outcome,) = await sink.deliver([event()])
    assert isinstance(outcome, Retry)
    assert outcome.pause
    assert "raise the limit of open files" in outcome.reason
    await sink.close()
