"""The sign of life on disk, from which the next start knows since when nobody listened."""

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tdbwatch.daemon.pulse import Beat, Pulse
from tdbwatch.testing import ManualClock, settle


@contextmanager
def no_byte_may_be_written() -> Iterator[None]:
    """As on a full disk; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


ALERTS, DEPLOYS = ("//stuff", "alerts"), ("//ops", "deploys")


async def test_the_last_beat_is_remembered_and_which_rooms_were_silent(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000)
    assert Pulse(tmp_path / "spool.db", clock).last() is None
    await Pulse(tmp_path / "spool.db", clock).beat({})
    await clock.advance(60)
    await Pulse(tmp_path / "spool.db", clock).beat({ALERTS: 1_700_000_010.5})
    last = Pulse(tmp_path / "spool.db", clock).last()
    assert last == Beat(1_700_000_060, {ALERTS: 1_700_000_010.5})
    assert (last.heard(ALERTS), last.heard(DEPLOYS)) == (1_700_000_010.5, 1_700_000_060)
    assert (tmp_path / "spool.db.alive").stat().st_mode & 0o777 == 0o600


async def test_a_beat_that_a_full_disk_does_not_take_leaves_the_one_before(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000)
    pulse = Pulse(tmp_path / "spool.db", clock)
    await pulse.beat({})
    await clock.advance(60)
    with no_byte_may_be_written():
        await pulse.beat({})
    assert pulse.last() == Beat(1_700_000_000)


async def test_a_disk_that_hangs_does_not_hang_the_event_loop(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "spool.db", ManualClock(1_700_000_000))
    new = tmp_path / "spool.db.alive.new"
    os.mkfifo(new)  # whoever opens it to write waits until somebody reads
    beating = asyncio.create_task(pulse.beat({}))
    await settle()
    assert not beating.done()
    reader = os.open(new, os.O_RDONLY | os.O_NONBLOCK)
    await beating
    os.close(reader)


@pytest.mark.parametrize("text", ["", "soon", "[]", "{}", '{"time": 1, "silent": [[1]]}', '"x"', "null"])
def test_what_is_no_beat_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "spool.db.alive").write_text(text)
    assert Pulse(tmp_path / "spool.db", ManualClock()).last() is None


def test_a_beat_of_the_first_versions_is_understood(tmp_path: Path) -> None:
    (tmp_path / "spool.db.alive").write_text("1700000000.123      ")
    assert Pulse(tmp_path / "spool.db", ManualClock()).last() == Beat(1_700_000_000.123)
