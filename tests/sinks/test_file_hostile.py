"""The file sink among others who move and remove its files, and names that look alike."""

import os
import re
from pathlib import Path

import pytest

from tdbwatch.plugin import DELIVERED, Retry

from .file_kit import Make, event, ids, tidy


@pytest.mark.parametrize("moves", [1, 2, 3])
async def test_what_is_written_while_the_file_is_moved_away_is_in_the_new_one_too(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    path, first, second = tmp_path / "alerts.jsonl", event(), event()
    sink, real, left = make(), os.write, [moves]
    await sink.deliver([first])

    def write(fd: int, data: memoryview) -> int:
        if left[0]:
            path.rename(
                tmp_path / f"alerts.jsonl.{left[0]}"
            )  # whoever compresses it may have read it already
            left[0] -= 1
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert await sink.deliver([second]) == [DELIVERED]
    assert second.id in ids(path)


async def test_a_folder_that_is_removed_is_made_anew(tmp_path: Path, make: Make) -> None:
    sink, batch = make("sub/{room}.jsonl"), [event(), event()]
    await sink.deliver(batch[:1])
    (tmp_path / "sub/alerts.jsonl").unlink()
    (tmp_path / "sub").rmdir()
    assert await sink.deliver(batch[1:]) == [DELIVERED]
    assert ids(tmp_path / "sub/alerts.jsonl") == [batch[1].id]


@pytest.mark.parametrize("victim", ["sub/alerts.jsonl", "sub"])
async def test_what_is_replaced_by_something_else_is_tried_again_until_it_is_back(
    tmp_path: Path, make: Make, victim: str
) -> None:
    sink, batch = make("sub/{room}.jsonl"), [event(), event()]
    await sink.deliver(batch[:1])
    (tmp_path / victim).rename(tmp_path / "moved")
    other = tmp_path / victim
    other.mkdir() if victim.endswith("jsonl") else other.touch()
    (outcome,) = await sink.deliver(batch[1:])
    assert isinstance(outcome, Retry)
    assert re.search("Is a directory|Not a directory", outcome.reason)
    other.rmdir() if victim.endswith("jsonl") else other.unlink()
    assert await sink.deliver(batch[1:]) == [DELIVERED]
    assert ids(tmp_path / "sub/alerts.jsonl") == [batch[1].id]


async def test_names_that_only_look_alike_have_files_of_their_own(tmp_path: Path, make: Make) -> None:
    rooms = [
        "alerts",
        "Alerts",
        "caf\u00e9",
        "cafe\u0301",
        "..",
        ".",
        "",
        "a/b",
        "a_b",
        "COM1",
        "\uac00",
        "\u1100\u1161",
    ]
    batch = [event(room) for room in rooms]
    assert await make("sub/{room}").deliver(batch) == [DELIVERED] * len(rooms)
    assert sorted(ids(path)[0] for path in (tmp_path / "sub").iterdir()) == [one.id for one in batch]
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


async def test_a_room_called_as_an_old_file_is_not_taken_for_one(tmp_path: Path, make: Make) -> None:
    like, mine = event("alerts.20200101T000000Z"), [event() for _ in range(4)]
    sink = make("{room}", rotate={"size": "10B", "keep": 1, "compress": True})
    await sink.deliver([like])
    for one in mine:
        await sink.deliver([one])
        tidy(sink)
    (path,) = (path for path in tmp_path.iterdir() if "~" in path.name)
    assert ids(path) == [like.id]
