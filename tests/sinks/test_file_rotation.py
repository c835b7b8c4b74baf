"""Rotation and compression: nothing is lost, whatever stops them and wherever the file is."""

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.plugin import DELIVERED
from tdbwatch.sinks.file import compression, rotation, tidier
from tdbwatch.testing import ManualClock
from tests.forked import Forker

from .file_kit import Make, event, ids, tidy


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
