"""Dead letters on the status port are read in a thread, one reader at a time, and nobody waits for long."""

import threading
from pathlib import Path

import pytest

from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.daemon.status import figures
from tdbwatch.daemon.status.figures import Surveyor, newest_letters
from tdbwatch.plugin import Event
from tests.daemon.spool.spool_kit import MakeSpool, dead_letter


def letter(sink: str, number: int) -> DeadLetter:
    return DeadLetter(sink, Entry(number, Event.create(args=[number])), f"no {number}", 1, "", "", 0, 0)


async def test_the_newest_come_first_and_only_those_of_one_sink(make: MakeSpool, path: Path) -> None:
    spool = await make()
    await dead_letter(spool, [letter("pager", n) for n in range(figures.LETTERS + 5)])
    await dead_letter(spool, [letter("chat", 7)])
    await spool.flush()
    assert [one.reason for one in newest_letters(path, None)[:2]] == ["no 7", f"no {figures.LETTERS + 4}"]
    assert len(newest_letters(path, None)) == figures.LETTERS
    assert [one.sink for one in newest_letters(path, "chat")] == ["chat"]
    assert newest_letters(path, "nobody") == []


async def test_where_there_is_no_spool_nothing_is_said_of_letters(tmp_path: Path) -> None:
    assert await Surveyor(tmp_path / "none.db", (), SYSTEM_CLOCK).letters(None) is None


async def test_a_disk_that_hangs_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = [], threading.Event()

    def hang(path: Path, sink: str | None) -> list[DeadLetter]:
        asked.append(sink)
        answers.wait(20)
        return []

    monkeypatch.setattr(figures, "newest_letters", hang)
    monkeypatch.setattr(figures, "PATIENCE", 0.02)
    surveyor = Surveyor(tmp_path / "spool.db", (), SYSTEM_CLOCK)
    assert [await surveyor.letters(sink) for sink in ("a", "b", "c")] == [None] * 3
    assert asked == ["a"]
    monkeypatch.setattr(figures, "PATIENCE", 20)
    answers.set()
    assert await surveyor.letters("d") == []
    assert asked == ["a", "d"]
    await surveyor.close()
