"""The file sink on a real disk."""

import contextlib
import errno
import fcntl
import gzip
import json
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tdbwatch.plugin import DELIVERED, Event, Outcome, Retry
from tdbwatch.plugin.sink import marked
from tdbwatch.sinks.file import FileOptions, FileSink, appender, compression
from tdbwatch.sinks.file.appender import Appender
from tdbwatch.sinks.file.budget import MOST as MAX_OPEN
from tdbwatch.testing import ManualClock, deliver

Make = Callable[..., FileSink]


def event(room: str = "alerts", name: str = "disk-full", **more: Any) -> Event:
    return Event.create(room, name, ["db1", 91], **more)


def lines(path: Path) -> list[bytes]:
    content = path.read_bytes()
    assert content.endswith(b"\n") or not content
    return content.splitlines()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in lines(path)]


def tidy(sink: FileSink) -> None:
    assert sink._tidier is not None
    assert sink._tidier.wait(10)


async def test_each_event_is_one_line_in_its_rooms_file_in_order(tmp_path: Path, make: Make) -> None:
    batch = [event("a"), event("b"), event("a"), event("a")]
    sink = make()
    assert await sink.deliver(batch) == [DELIVERED] * 4
    assert await sink.deliver(batch[:1]) == [DELIVERED]
    await sink.close()
    assert lines(tmp_path / "a.jsonl") == [batch[n].json() for n in (0, 2, 3, 0)]
    assert lines(tmp_path / "b.jsonl") == [batch[1].json()]


async def test_a_batch_is_one_write_and_one_sync_for_each_file(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    write, sync = os.write, appender._sync
    monkeypatch.setattr(os, "write", lambda fd, data: (calls.append("write"), write(fd, data))[1])
    monkeypatch.setattr(appender, "_sync", lambda fd: (calls.append("sync"), sync(fd))[1])
    batch = [event("a"), event("b"), event("a")]
    await make().deliver(batch)
    assert calls == ["write", "sync"] * 2
    calls.clear()
    await make("always-{room}", fsync="always").deliver(batch)
    assert calls == ["write", "sync"] * 3
    calls.clear()
    await make("never-{room}", fsync="never").deliver(batch)
    assert calls == ["write"] * 2


async def test_files_are_for_the_user_and_its_group_only(tmp_path: Path, make: Make) -> None:
    await make("sub/folder/{room}.jsonl").deliver([event()])
    assert stat.S_IMODE((tmp_path / "sub/folder/alerts.jsonl").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "sub/folder").stat().st_mode) == 0o750


async def test_a_file_that_logrotate_moved_is_begun_anew(tmp_path: Path, make: Make) -> None:
    sink, batch = make(), [event(), event(), event()]
    await sink.deliver(batch[:1])
    (tmp_path / "alerts.jsonl").rename(tmp_path / "alerts.jsonl.1")
    await sink.deliver(batch[1:2])
    (tmp_path / "alerts.jsonl").unlink()
    await sink.deliver(batch[2:])
    assert ids(tmp_path / "alerts.jsonl.1") == [batch[0].id]
    assert ids(tmp_path / "alerts.jsonl") == [batch[2].id]


async def test_a_file_that_logrotate_copied_and_truncated_goes_on_at_its_beginning(
    tmp_path: Path, make: Make
) -> None:
    sink, last = make(), event()
    await sink.deliver([event(), event()])
    os.truncate(tmp_path / "alerts.jsonl", 0)
    await sink.deliver([last])
    assert lines(tmp_path / "alerts.jsonl") == [last.json()]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(0, 3), cut=st.integers(min_value=1), zeros=st.integers(0, 5000))
async def test_a_torn_last_line_is_cut_off_and_every_other_line_stays(
    tmp_path: Path, make: Make, before: int, cut: int, zeros: int
) -> None:
    path = tmp_path / "alerts.jsonl"
    whole, torn = [event().json() for _ in range(before)], event().json()
    kept = torn[: cut % len(torn)]
    path.write_bytes(b"".join(line + b"\n" for line in whole) + kept + bytes(zeros))
    sink, again = make(), event()
    assert await sink.deliver([again]) == [DELIVERED]
    await sink.close()
    assert lines(path) == [*whole, again.json()]


async def test_a_torn_line_longer_than_any_buffer_is_found(tmp_path: Path, make: Make) -> None:
    long = Event.create("alerts", "long", ["x" * 300_000]).json()
    (tmp_path / "alerts.jsonl").write_bytes(long + b"\n" + long[:-1])
    sink, again = make(), event()
    await sink.deliver([again])
    assert lines(tmp_path / "alerts.jsonl") == [long, again.json()]


async def test_a_last_line_that_is_not_ours_is_not_cut_off(tmp_path: Path, make: Make) -> None:
    (tmp_path / "alerts.jsonl").write_bytes(b"# kept by hand")
    again = event()
    await make().deliver([again])
    assert lines(tmp_path / "alerts.jsonl") == [b"# kept by hand", again.json()]


def test_a_killed_writer_leaves_a_file_that_the_next_one_repairs(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    code = f"""
import os
from tdbwatch.plugin import Event
from tdbwatch.sinks.file.appender import Appender
file = Appender({str(path)!r})
line = Event.create("alerts", "e", ["x" * 1000]).json()
file.append(line + b"\\n", 0.0, sync=True)
os.write(file._fd, line[:500])
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == -9
    assert deliver(marked(FileSink), event(), {"path": str(path)}) == [DELIVERED]
    assert len(ids(path)) == 2


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writes beyond a size fail as on a full disk (EFBIG; SIGXFSZ is ignored by Python).

    It holds for pytest's own output too, so it ends before the test does.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_write_that_fails_half_way_leaves_whole_lines_and_is_tried_again(
    tmp_path: Path, make: Make
) -> None:
    sink, first, rest = make(), event(), [event(), event(), event()]
    await sink.deliver([first])
    with file_size_limit(len(first.json()) * 2 + 20):
        outcomes = await sink.deliver(rest)
    assert {type(outcome) for outcome in outcomes} == {Retry}
    assert lines(tmp_path / "alerts.jsonl") == [first.json()]
    assert await sink.deliver(rest) == [DELIVERED] * 3
    assert lines(tmp_path / "alerts.jsonl") == [one.json() for one in (first, *rest)]


async def test_with_fsync_always_what_was_written_before_a_failure_is_delivered(
    tmp_path: Path, make: Make
) -> None:
    batch = [event(), event(), event()]
    sink = make(fsync="always")
    with file_size_limit(len(batch[0].json()) * 2 + 20):
        outcomes = await sink.deliver(batch)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered", "Delivered", "Retry"]
    assert ids(tmp_path / "alerts.jsonl") == [one.id for one in batch[:2]]


async def test_a_full_disk_is_tried_again_with_the_reason_and_remedy(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = make()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        (outcome,) = await sink.deliver([event()])
    assert isinstance(outcome, Retry)
    assert re.search(r"alerts\.jsonl: No space left on device; free some space", outcome.reason)
    assert await sink.deliver([event()]) == [DELIVERED]


async def test_one_file_that_fails_does_not_hold_up_the_others(tmp_path: Path, make: Make) -> None:
    (tmp_path / "b.jsonl").mkdir()
    outcomes = await make().deliver([event("a"), event("b"), event("c")])
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered", "Retry", "Delivered"]


async def test_a_folder_that_is_a_file_is_tried_again(tmp_path: Path, make: Make) -> None:
    (tmp_path / "sub").write_text("")
    (outcome,) = await make("sub/{room}").deliver([event()])
    assert isinstance(outcome, Retry)
    assert "Not a directory" in outcome.reason


async def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path, make: Make) -> None:
    os.mkfifo(tmp_path / "alerts.jsonl")
    (outcome,) = await make().deliver([event()])
    assert isinstance(outcome, Retry)
    assert "not a regular file" in outcome.reason


async def test_two_writers_never_share_a_file(tmp_path: Path, make: Make) -> None:
    first, second = make(), make()
    await first.deliver([event()])
    (outcome,) = await second.deliver([event()])
    assert isinstance(outcome, Retry)
    assert "another sink or process writes to it; give each sink a path of its own" in outcome.reason
    await first.close()
    assert await second.deliver([event()]) == [DELIVERED]


async def test_open_files_are_bounded(tmp_path: Path, make: Make) -> None:
    def open_now() -> int:
        targets = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        return sum(target.startswith(str(tmp_path)) for target in targets)

    sink = make("{event}.jsonl")
    batch = [event(name=f"e{n}") for n in range(3 * MAX_OPEN)]
    assert await sink.deliver(batch) == [DELIVERED] * len(batch)
    assert open_now() == MAX_OPEN
    assert await sink.deliver(batch) == [DELIVERED] * len(batch)
    await sink.close()
    assert open_now() == 0
    assert all(len(lines(tmp_path / f"e{n}.jsonl")) == 2 for n in range(3 * MAX_OPEN))


async def test_before_a_file_grows_too_large_a_new_one_is_begun(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    batch = [event() for _ in range(5)]
    size = len(batch[0].json()) + 1
    sink = make(rotate={"size": f"{2 * size}B"})
    for one in batch:
        await sink.deliver([one])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["alerts.jsonl", "alerts.jsonl.20270115T080000Z", "alerts.jsonl.20270115T080000Z.1"]
    assert [ids(tmp_path / name) for name in names[1:]] == [
        [one.id for one in batch[n : n + 2]] for n in (0, 2)
    ]
    assert ids(tmp_path / "alerts.jsonl") == [batch[4].id]


async def test_an_event_larger_than_a_file_may_be_has_one_of_its_own(tmp_path: Path, make: Make) -> None:
    sink = make(rotate={"size": "10B"})
    await sink.deliver([event()])
    await sink.deliver([event()])
    assert len(list(tmp_path.iterdir())) == 2


async def test_files_change_with_the_hour_even_over_a_restart(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    batch = [event() for _ in range(3)]
    sink = make(rotate={"every": "1h"})
    await sink.deliver(batch[:1])
    await clock.advance(1800)
    await sink.deliver(batch[1:2])
    await sink.close()
    os.utime(tmp_path / "alerts.jsonl", (clock.time(), clock.time()))
    await clock.advance(1800)
    await make(rotate={"every": "1h"}).deliver(batch[2:])
    assert ids(tmp_path / "alerts.jsonl.20270115T090000Z") == [batch[0].id, batch[1].id]
    assert ids(tmp_path / "alerts.jsonl") == [batch[2].id]


async def test_a_restart_within_the_hour_begins_no_new_file(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    batch = [event() for _ in range(2)]
    for one in batch:
        sink = make(rotate={"every": "1h"})
        await sink.deliver([one])
        await sink.close()
        os.utime(tmp_path / "alerts.jsonl", (clock.time(), clock.time()))
        await clock.advance(1799)
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.jsonl"]
    assert ids(tmp_path / "alerts.jsonl") == [one.id for one in batch]


async def test_the_size_of_a_file_that_logrotate_truncated_begins_at_nothing(
    tmp_path: Path, make: Make
) -> None:
    batch = [event() for _ in range(4)]
    sink = make(rotate={"size": f"{2 * len(batch[0].json()) + 2}B"})
    await sink.deliver(batch[:2])
    os.truncate(tmp_path / "alerts.jsonl", 0)
    await sink.deliver(batch[2:])
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.jsonl"]
    assert ids(tmp_path / "alerts.jsonl") == [one.id for one in batch[2:]]


async def test_two_names_of_one_file_keep_each_other_out(tmp_path: Path, make: Make) -> None:
    (tmp_path / "alerts.jsonl").touch()
    os.link(tmp_path / "alerts.jsonl", tmp_path / "Alerts.jsonl")
    outcomes = await make().deliver([event("alerts"), event("Alerts")])
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered", "Retry"]


@pytest.mark.parametrize(
    ("compress", "suffix", "unpack"),
    [
        (True, ".gz", gzip.decompress),
        ("gzip", ".gz", gzip.decompress),
        ("zstd", ".zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        (False, "", bytes),
    ],
)
async def test_old_files_are_compressed_and_the_oldest_deleted(
    tmp_path: Path,
    make: Make,
    clock: ManualClock,
    compress: Any,
    suffix: str,
    unpack: Callable[[bytes], bytes],
) -> None:
    batch = [event() for _ in range(5)]
    sink = make(rotate={"size": "10B", "keep": 2, "compress": compress})
    for one in batch:
        await sink.deliver([one])
        tidy(sink)
        await clock.advance(1)
    kept = sorted(tmp_path.glob("alerts.jsonl.*"))
    assert [path.name for path in kept] == [f"alerts.jsonl.20270115T08000{n}Z{suffix}" for n in (3, 4)]
    assert [unpack(path.read_bytes()) for path in kept] == [one.json() + b"\n" for one in batch[2:4]]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o640}


@pytest.mark.parametrize("tidy_each_time", [True, False])
async def test_of_many_files_of_one_second_the_newest_are_kept(
    tmp_path: Path, make: Make, tidy_each_time: bool
) -> None:
    batch = [event() for _ in range(15)]
    sink = make(rotate={"size": "10B", "keep": 3})
    for one in batch:
        await sink.deliver([one])
        if tidy_each_time:
            tidy(sink)
    tidy(sink)
    kept = [tmp_path / f"alerts.jsonl.20270115T080000Z.{n}" for n in (11, 12, 13)]
    assert sorted(tmp_path.glob("*Z*")) == kept
    assert [ids(path) for path in kept] == [[one.id] for one in batch[11:14]]


def test_a_file_goes_only_when_its_compressed_form_and_its_name_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"x")
    seen: list[tuple[str, bool]] = []
    real = os.fsync

    def spy(fd: int) -> None:
        seen.append((os.path.realpath(f"/proc/self/fd/{fd}"), path.exists()))
        real(fd)

    monkeypatch.setattr(os, "fsync", spy)
    compression.compress(str(path), "gzip", lambda: False)
    assert seen == [(f"{path}.gz.part", True), (str(tmp_path), True)]
    assert not path.exists()


async def test_without_keep_nothing_is_deleted(tmp_path: Path, make: Make) -> None:
    sink = make(rotate={"size": "10B"})
    for _ in range(6):
        await sink.deliver([event()])
    tidy(sink)
    assert len(list(tmp_path.iterdir())) == 6


async def test_rotation_of_one_room_leaves_alone_files_that_look_similar(tmp_path: Path, make: Make) -> None:
    mine = ["alerts.jsonl.1", "alerts.jsonl.20270115T080000Z.bak", "xalerts.jsonl.20270115T080000Z"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    sink = make(rotate={"size": "10B", "keep": 1, "compress": True})
    for _ in range(4):
        await sink.deliver([event()])
    tidy(sink)
    assert all((tmp_path / name).read_text() == "mine" for name in mine)


async def test_what_a_crash_left_uncompressed_is_compressed_at_the_next_rotation(
    tmp_path: Path, make: Make
) -> None:
    old = tmp_path / "alerts.jsonl.20260101T000000Z"
    old.write_bytes(b"{}\n")
    (tmp_path / "alerts.jsonl.20260101T000000Z.gz.part").write_bytes(b"half")
    sink = make(rotate={"size": "10B", "compress": True})
    await sink.deliver([event()])
    await sink.deliver([event()])
    tidy(sink)
    assert gzip.decompress(Path(f"{old}.gz").read_bytes()) == b"{}\n"
    assert not old.exists()
    assert not list(tmp_path.glob("*.part"))


def test_compression_that_is_given_up_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"x" * 5_000_000)
    asked: Sequence[bool] = [False, True]
    answers = iter(asked)
    with pytest.raises(compression.GivenUpError):
        compression.compress(str(path), "gzip", lambda: next(answers))
    assert [one.name for one in tmp_path.iterdir()] == ["old"]


async def test_old_files_that_cannot_be_compressed_do_not_hold_up_delivery(
    tmp_path: Path, make: Make
) -> None:
    (tmp_path / "alerts.jsonl.20260101T000000Z").mkdir()
    sink = make(rotate={"size": "10B", "compress": True})
    outcomes: list[Outcome] = []
    for _ in range(3):
        outcomes += await sink.deliver([event()])
        tidy(sink)
    assert outcomes == [DELIVERED] * 3


def test_an_appended_file_is_locked_for_as_long_as_it_is_open(tmp_path: Path) -> None:
    file = Appender(str(tmp_path / "x"))
    with (tmp_path / "x").open() as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.close()
        file.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "{rom}"}, "is not a field"),
        ({}, "path"),
        ({"path": "x", "rotate": {}}, "give size, every, or both"),
        ({"path": "x", "rotate": {"size": "0B"}}, "greater than 0"),
        ({"path": "x", "rotate": {"every": "10ms"}}, "greater than or equal to 1"),
        ({"path": "x", "rotate": {"size": "1MB", "keep": 0}}, "greater than 0"),
        ({"path": "x", "rotate": {"size": "1MB", "compress": "rar"}}, "gzip"),
        ({"path": "x", "fsync": "sometimes"}, "always"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        FileOptions.model_validate_json(json.dumps(options))


def test_a_relative_path_starts_at_the_configurations_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with {braces}"
    checked = FileOptions.model_validate_json('{"path": "{room}.jsonl"}', context={"folder": folder})
    assert deliver(marked(FileSink), event(), checked) == [DELIVERED]
    assert len(ids(folder / "alerts.jsonl")) == 1


def test_zstd_without_its_package_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValidationError, match=re.escape("pip install 'tdbwatch[zstd]'")):
        FileOptions.model_validate_json('{"path": "x", "rotate": {"size": "1MB", "compress": "zstd"}}')
