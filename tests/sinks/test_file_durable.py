"""What the file sink says is delivered is on the disk: names, folders, torn lines, full disks."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tdbwatch.plugin import DELIVERED, Retry
from tdbwatch.sinks.file.appender import Appender

from .file_kit import Make, event, ids


async def test_every_new_folder_is_for_the_user_and_its_group_only(tmp_path: Path, make: Make) -> None:
    await make("a/b/c/{room}.jsonl").deliver([event()])
    assert {stat.S_IMODE((tmp_path / folder).stat().st_mode) for folder in ("a", "a/b", "a/b/c")} == {0o750}


@pytest.mark.parametrize(("fsync", "synced"), [("batch", ["", "a", "a/b"]), ("never", [])])
async def test_the_names_of_new_files_and_folders_are_durable_too(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, fsync: str, synced: list[str]
) -> None:
    seen: list[str] = []
    real = os.fsync

    def spy(fd: int) -> None:
        seen.append(os.path.realpath(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", spy)
    await make("a/b/{room}.jsonl", fsync=fsync).deliver([event()])
    assert seen == [os.path.normpath(tmp_path / folder) for folder in synced]


async def test_a_file_whose_maker_died_before_its_name_was_durable_is_made_durable(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alerts.jsonl").touch()
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(os.path.realpath(f"/proc/self/fd/{fd}")))
    await make().deliver([event()])
    assert seen == [str(tmp_path)]


async def test_behind_a_link_the_folder_is_made_and_durable_where_it_points(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alerts.jsonl").symlink_to("data/real.jsonl")
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(os.path.realpath(f"/proc/self/fd/{fd}")))
    assert await make().deliver([event()]) == [DELIVERED]
    assert (tmp_path / "alerts.jsonl").is_symlink()
    assert seen == [str(tmp_path), str(tmp_path / "data")]


async def test_what_went_into_a_full_file_before_the_disk_was_full_is_delivered(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [event() for _ in range(5)]
    size = len(batch[0].json()) + 1
    sink, real = make(rotate={"size": f"{2 * size}B"}), os.write
    left = [2 * size + 10]

    def write(fd: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, data[: left[0]])
        left[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        outcomes = await sink.deliver(batch)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered"] * 2 + ["Retry"] * 3
    assert await sink.deliver(batch[2:]) == [DELIVERED] * 3
    lines = [one for path in sorted(tmp_path.iterdir()) for one in ids(path)]
    assert sorted(lines) == [one.id for one in batch]


async def test_a_whole_last_line_without_its_newline_is_kept(tmp_path: Path, make: Make) -> None:
    """Some editors take the newline away, and then its event was acknowledged."""
    first, second = event(), event()
    (tmp_path / "alerts.jsonl").write_bytes(first.json())
    await make().deliver([second])
    assert ids(tmp_path / "alerts.jsonl") == [first.id, second.id]


@pytest.mark.parametrize("cut", range(1, 12))
async def test_a_line_torn_within_a_character_is_cut_off(tmp_path: Path, make: Make, cut: int) -> None:
    first, torn, again = event(), event("alerts", "x", "日本ü").json(), event()
    end = torn.index("日本ü".encode()) + 11
    (tmp_path / "alerts.jsonl").write_bytes(first.json() + b"\n" + torn[: end - cut])
    await make().deliver([again])
    assert ids(tmp_path / "alerts.jsonl") == [first.id, again.id]


def test_a_large_file_without_any_newline_is_looked_through_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.iso"
    with path.open("wb") as file:
        file.write(b"not ours")
        file.truncate(300_000_000)
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: (read.append(size), real(fd, size, offset))[1])
    Appender(str(path), durable=False).close()
    assert max(read) <= 1 << 20
    assert sum(read) < 310_000_000
    assert path.stat().st_size == 300_000_001


async def test_after_a_failed_write_nothing_of_the_batch_overtakes(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [event() for _ in range(300)]
    sink, real, left = make(fsync="always"), os.write, [9]

    def write(fd: int, data: memoryview) -> int:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    outcomes = await sink.deliver(batch)
    assert outcomes[:9] == [DELIVERED] * 9
    assert {type(outcome) for outcome in outcomes[9:]} == {Retry}
    assert await sink.deliver(batch[9:30]) == [DELIVERED] * 21
    assert ids(tmp_path / "alerts.jsonl") == [one.id for one in batch[:30]]
