"""The file sink among others who move, cut, link and remove its files, and on disks that give out."""

import asyncio
import errno
import gzip
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.descriptors import Reserve
from tdbwatch.plugin import DELIVERED, Event, Retry
from tdbwatch.sinks.file import FileSink, appender, budget, compression, guarded, rotation, tidier
from tdbwatch.sinks.file.appender import Appender
from tdbwatch.sinks.file.budget import MOST as MAX_OPEN
from tdbwatch.testing import ManualClock
from tests.forked import Forker

Make = Callable[..., FileSink]


def event(room: str = "alerts", name: str = "disk-full", *args: Any) -> Event:
    return Event.create(room, name, ["db1", 91, *args])


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def tidy(sink: FileSink) -> None:
    assert sink._tidier is not None
    assert sink._tidier.wait(10)


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


async def test_a_batch_larger_than_a_file_may_be_is_spread_over_several(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    batch = [event() for _ in range(10)]
    size = len(batch[0].json()) + 1
    sink = make(rotate={"size": f"{3 * size}B"})
    assert await sink.deliver(batch[:1]) == [DELIVERED]
    assert await sink.deliver(batch[1:]) == [DELIVERED] * 9
    aside = [tmp_path / f"alerts.jsonl.20270115T080000Z{end}" for end in ("", ".1", ".2")]
    files = [ids(path) for path in (*aside, tmp_path / "alerts.jsonl")]
    assert files == [[one.id for one in batch[n : n + 3]] for n in (0, 3, 6, 9)]


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


async def test_old_files_that_cannot_be_tidied_up_do_not_keep_the_others_from_it(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    (tmp_path / "alerts.jsonl.20200101T000000Z/x").mkdir(parents=True)
    (tmp_path / "alerts.jsonl.20200101T000001Z").symlink_to("/dev/zero")
    sink = make(rotate={"size": "10B", "keep": 2, "compress": True})
    for _ in range(5):
        await sink.deliver([event()])
        tidy(sink)
        await clock.advance(1)
    names = {path.name for path in tmp_path.glob("alerts.jsonl.2027*")}
    assert names == {"alerts.jsonl.20270115T080003Z.gz", "alerts.jsonl.20270115T080004Z.gz"}


async def test_one_file_that_cannot_be_compressed_does_not_keep_the_others_from_it(
    tmp_path: Path, make: Make
) -> None:
    (tmp_path / "alerts.jsonl.20200101T000000Z").write_bytes(b"{}\n")
    (tmp_path / "alerts.jsonl.20200101T000000Z.gz.part").mkdir()
    sink = make(rotate={"size": "10B", "compress": True})
    for _ in range(2):
        await sink.deliver([event()])
    tidy(sink)
    assert (tmp_path / "alerts.jsonl.20270115T080000Z.gz").is_file()
    assert (tmp_path / "alerts.jsonl.20200101T000000Z").is_file()


async def test_what_a_crash_left_half_compressed_goes_even_if_its_file_is_gone(
    tmp_path: Path, make: Make
) -> None:
    for name in ("alerts.jsonl.20200101T000000Z.gz.part", "alerts.jsonl.20200101T000000Z.3.zst.part"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "alerts.jsonl.gz.part").write_bytes(b"not ours")
    sink = make(rotate={"size": "10B", "keep": 1})
    for _ in range(2):
        await sink.deliver([event()])
    tidy(sink)
    assert [path.name for path in tmp_path.glob("*.part")] == ["alerts.jsonl.gz.part"]


async def test_a_path_that_is_a_link_is_rotated_where_it_points(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "alerts.jsonl").symlink_to("data/real.jsonl")
    sink, batch = make(rotate={"size": "10B", "keep": 1, "compress": True}), [event() for _ in range(3)]
    for one in batch:
        await sink.deliver([one])
        tidy(sink)
        await clock.advance(1)
    assert (tmp_path / "alerts.jsonl").is_symlink()
    assert ids(tmp_path / "data/real.jsonl") == [batch[2].id]
    (aside,) = (tmp_path / "data").glob("*.gz")
    assert aside.name == "real.jsonl.20270115T080002Z.gz"
    assert gzip.decompress(aside.read_bytes()) == batch[1].json() + b"\n"


async def test_a_half_compressed_file_is_never_written_through_a_link(tmp_path: Path, make: Make) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "alerts.jsonl.20270115T080000Z.gz.part").symlink_to(victim)
    sink = make(rotate={"size": "10B", "compress": True})
    for _ in range(2):
        await sink.deliver([event()])
    tidy(sink)
    assert victim.read_text() == "precious"
    assert (tmp_path / "alerts.jsonl.20270115T080000Z.gz").is_file()


@pytest.mark.parametrize("every", ["1h", "1d", "1w"])
async def test_summer_time_does_not_move_a_rotation(
    tmp_path: Path, make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, every: str
) -> None:
    """2027-03-28 01:00 UTC, when the clocks of Berlin go from two to three."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    await clock.advance(1_806_192_000 - 60 - clock.time())  # a minute before midnight UTC, Sunday
    sink, counts = make(rotate={"every": every}), []
    for _ in range(8):
        await sink.deliver([event()])
        counts.append(len(list(tmp_path.glob("*Z"))))
        await clock.advance(900)
    hours = [0, 1, 1, 1, 1, 2, 2, 2]
    assert counts == {"1h": hours, "1d": [0, *[1] * 7], "1w": [0] * 8}[every]


def test_a_second_process_cannot_write_to_the_file(tmp_path: Path) -> None:
    code = f"""
import sys
import threading
from tdbwatch.sinks.file.appender import Appender
file = Appender({str(tmp_path / "x")!r})
print("mine", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(BlockingIOError, match="another sink or process"):
            Appender(str(tmp_path / "x"))
        other.communicate()
    Appender(str(tmp_path / "x")).close()


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


async def test_closing_gives_up_a_compression_that_is_under_way(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, given_up = threading.Event(), threading.Event()

    def endless(path: str, kind: str, stop: Callable[[], bool]) -> str:
        begun.set()
        while not stop():
            pass
        given_up.set()
        raise compression.GivenUpError(path)

    monkeypatch.setattr(tidier, "compress", endless)
    sink = make(rotate={"size": "10B", "compress": True})
    for _ in range(2):
        await sink.deliver([event()])
    assert begun.wait(10)
    await sink.close()
    assert given_up.is_set()


async def test_the_file_that_was_not_used_for_longest_is_closed_for_the_next(
    tmp_path: Path, make: Make
) -> None:
    sink = make("{event}")
    for name in [*(f"e{n}" for n in range(MAX_OPEN)), "e0", "one more"]:
        await sink.deliver([event("alerts", name)])
    Appender(str(tmp_path / "e1")).close()
    with pytest.raises(BlockingIOError):
        Appender(str(tmp_path / "e0"))


@pytest.mark.parametrize(
    "call", ["pathlib.Path.rename", "pathlib.Path.replace", "pathlib.Path.unlink", "os.fsync"]
)
@pytest.mark.parametrize("after", [False, True])
async def test_a_kill_at_any_step_of_a_rotation_loses_nothing(
    tmp_path: Path, forker: Forker, call: str, after: bool
) -> None:
    code = f"""
import asyncio, os, pathlib, sys
from tdbwatch.plugin import Event, SinkContext
from tdbwatch.sinks.file import FileOptions, FileSink
real, left = {call}, [int(sys.argv[1])]
def fatal(*args, **more):
    left[0] -= 1
    if left[0] == 0 and {after}:
        real(*args, **more)
    if left[0] == 0:
        os.kill(os.getpid(), 9)
    return real(*args, **more)
{call} = fatal
options = {{"path": {str(tmp_path / "x.jsonl")!r}, "rotate": {{"size": "10B", "compress": "gzip"}}}}
async def main():
    sink = FileSink(FileOptions.model_validate(options), SinkContext("audit"))
    for _ in range(3):
        made = Event.create()
        await sink.deliver([made])
        print(made.id, flush=True)
        sink._tidier.wait(10)
asyncio.run(main())
"""
    said: list[str] = []
    for left, expected in ((2, -9), (0, 0)):
        ended, out, err = await forker.run(code, [str(left)])
        assert ended == expected, err
        said += out.split()
    files = sorted(tmp_path.iterdir())
    assert {file.suffix for file in files} == {".gz", ".jsonl"}
    content = b"".join(gzip.decompress(file.read_bytes()) for file in files if file.suffix == ".gz")
    kept = {json.loads(line)["id"] for line in content.splitlines()} | set(ids(tmp_path / "x.jsonl"))
    assert kept >= set(said)


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


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that tdbwatch lives on."""
    made = guarded.Guarded()
    monkeypatch.setattr(appender, "guarded", made)
    spool = tmp_path / "spool.db"
    for name in ("spool.db", "spool.db-wal", "spool.db.lock"):
        (tmp_path / name).write_bytes(b"ours")
    made.protect([spool])
    return spool


@pytest.mark.parametrize(
    "name",
    [
        "spool.db",
        "spool.db-wal",
        "spool.db-shm",
        "spool.db.lock",
        "link",
        "hard",
        "hard-wal",
        "f/../spool.db",
    ],
)
async def test_no_event_goes_into_a_file_that_tdbwatch_lives_on(
    tmp_path: Path, make: Make, ours: Path, name: str
) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "link").symlink_to("spool.db-wal")
    os.link(ours, tmp_path / "hard")
    os.link(tmp_path / "spool.db-wal", tmp_path / "hard-wal")
    before = sorted(tmp_path.iterdir())
    (outcome,) = await make(name).deliver([event()])
    assert isinstance(outcome, Retry)
    assert "tdbwatch itself lives on this file" in outcome.reason
    assert sorted(tmp_path.iterdir()) == before
    assert ours.read_bytes() == (tmp_path / "spool.db-wal").read_bytes() == b"ours"


async def test_files_beside_it_that_are_not_ours_are_written(tmp_path: Path, make: Make, ours: Path) -> None:
    for name in ("spool.jsonl", "spool.db.jsonl", "spool.db-audit.jsonl", "spool"):
        assert await make(name).deliver([event()]) == [DELIVERED]


async def test_a_clock_that_is_set_back_does_not_make_the_newest_file_the_oldest(
    tmp_path: Path, make: Make, clock: ManualClock
) -> None:
    sink = make("a.jsonl", rotate={"size": "1B", "keep": 2})
    sent = [event(name=f"e{n}") for n in range(5)]
    for number, one in enumerate(sent):
        clock._start -= 86_400 * (number == 2)
        await clock.advance(1)
        await sink.deliver([one])
        tidy(sink)
    kept = sorted(file for file in tmp_path.iterdir() if file.name != "a.jsonl")
    assert [ids(file)[0] for file in kept] == [sent[2].id, sent[3].id]
    await sink.close()


async def test_file_sinks_share_what_the_process_may_open(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = budget.Budget()
    monkeypatch.setattr("tdbwatch.sinks.file.sink.budget", shared)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    sinks = [make(f"s{n}/{{event}}.jsonl", fsync="never") for n in range(18)]
    batch = [event(name=f"e{n}") for n in range(64)]
    for _ in range(2):
        for sink in sinks:
            assert await sink.deliver(batch) == [DELIVERED] * 64
    assert sum(len(sink._open_files) for sink in sinks) <= 512
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


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
async def test_in_a_folder_that_others_can_write_no_link_is_followed(
    tmp_path: Path, make: Make, link: str
) -> None:
    theirs, shared = tmp_path / "passwd", tmp_path / "shared"
    theirs.write_bytes(b"root:x:0:0\n")
    shared.mkdir()
    getattr(shared / "a.jsonl", link)(theirs)
    shared.chmod(0o777)
    sink = make("shared/a.jsonl")
    (outcome,) = await sink.deliver([event()])
    assert isinstance(outcome, Retry)
    assert "others can write its folder; remedy: chmod go-w the folder" in outcome.reason
    assert theirs.read_bytes() == b"root:x:0:0\n"
    shared.chmod(0o750)
    assert await sink.deliver([event()]) == [DELIVERED], "where nobody else can have put it, it is meant so"
    assert await make("shared/b.jsonl").deliver([event()]) == [DELIVERED]
    await sink.close()


async def test_a_folder_on_the_way_that_somebody_made_a_link_leads_nowhere(
    tmp_path: Path, make: Make
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/logs").symlink_to(tmp_path / "etc")
    (tmp_path / "theirs").chmod(0o777)
    (outcome,) = await make("theirs/logs/a.jsonl").deliver([event()])
    assert isinstance(outcome, Retry)
    assert f"{tmp_path}/theirs/logs is a link, in a folder that others can write" in outcome.reason
    assert list((tmp_path / "etc").iterdir()) == []


def test_rotation_renames_nothing_that_a_link_of_somebody_elses_leads_to(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_bytes(b"root:x:0:0\n")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/a.jsonl").symlink_to(tmp_path / "passwd")
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(OSError, match="is a link, in a folder that others can write"):
        rotation.set_aside(str(tmp_path / "shared/a.jsonl"), 0)
    assert (tmp_path / "passwd").exists()


def test_compressing_writes_into_nothing_that_is_there_already(tmp_path: Path) -> None:
    theirs, aside = tmp_path / "passwd", tmp_path / "a.jsonl.20261123T072400Z"
    theirs.write_bytes(b"root:x:0:0\n")
    aside.write_bytes(b"{}\n")
    Path(f"{aside}.gz.part").hardlink_to(theirs)
    target = compression.compress(str(aside), "gzip", lambda: False)
    assert gzip.decompress(Path(target).read_bytes()) == b"{}\n"
    assert theirs.read_bytes() == b"root:x:0:0\n"
    aside.symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic links"):
        compression.compress(str(aside), "gzip", lambda: False)
