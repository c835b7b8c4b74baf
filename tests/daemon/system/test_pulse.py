"""Systemd's watchdog is fed only while the writer and the couriers make progress."""

import sqlite3
import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.couriers import Counts
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.daemon.spool.survival import watch
from tdbwatch.daemon.status.health import problems
from tdbwatch.daemon.status.snapshot import Life
from tdbwatch.daemon.system.pulse import INTERVAL, PATIENCE, Pulse, should_move
from tests.daemon.spool.spool_kit import MakeSpool, events, keep, until
from tests.daemon.status.status_moments import COURIER, FINE

LOOKS = int(PATIENCE / INTERVAL)
BUSY = replace(COURIER, lag=3)


class HungDisk(sqlite3.Connection):
    """Takes nothing, says nothing, and does not come back before it is let go; until then it is fine."""

    let_go, hangs = threading.Event(), threading.Event()
    let_go.set()

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        if not self.let_go.is_set():
            self.hangs.set()
        self.let_go.wait(20)
        return super().executemany(*args)


@dataclass
class Spool:
    """One that turns, unless it is told otherwise."""

    number: int = 0
    held: int = 0
    excused: bool = False
    turning: bool = True

    @property
    def turns(self) -> int:
        self.number += self.turning
        return self.number


@dataclass
class Courier:
    """One that is somewhere."""

    now: Any = BUSY
    position: int = 5

    def status(self) -> Any:
        return self.now


def look_for_long(pulse: Pulse, looks: int = LOOKS) -> bool:
    """The last of so many looks, after the first one."""
    return [pulse.look() for _ in range(1 + looks)][-1]


async def test_a_writer_that_hangs_in_a_call_is_found_out_and_one_that_is_idle_is_well(
    make: MakeSpool,
) -> None:
    spool = await make(connect=lambda path: connect(path, HungDisk))
    pulse = Pulse(spool, list)
    for _ in range(LOOKS + 2):
        before = spool.turns
        await until(lambda before=before: spool.turns > before)  # type: ignore[misc]
        assert pulse.look()
    HungDisk.let_go.clear()
    spool.append(heard(events(1)))
    try:
        await until(HungDisk.hangs.is_set)
        with capture_logs() as logs:
            assert not look_for_long(pulse)
            assert not pulse.look()
    finally:
        HungDisk.let_go.set()
    [line] = logs
    assert (line["event"], line["part"]) == ("daemon.stalled", "the spool's writer"), "said once"
    await spool.flush()
    assert pulse.look(), "it goes on"


def test_a_writer_may_be_slow_for_as_long_as_it_is_given() -> None:
    pulse = Pulse(Spool(turning=False), list)
    assert look_for_long(pulse, LOOKS - 1)
    assert not pulse.look()


def test_a_writer_that_has_a_reason_may_take_its_time() -> None:
    assert look_for_long(Pulse(Spool(turning=False, excused=True), list))


async def test_a_disk_that_refuses_and_a_damaged_file_are_reasons(
    make: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await make()
    await keep(spool, events(3))
    assert not spool.excused
    seen: list[bool] = []
    renew = watch.renew

    def renewing(*args: Any) -> Any:
        seen.append(spool.excused)
        return renew(*args)

    monkeypatch.setattr(watch, "renew", renewing)
    spool._files.suspect(sqlite3.DatabaseError("database disk image is malformed"))
    await until(lambda: seen and not spool.excused)
    assert seen == [True]
    spool.alarms.disk("it is full")
    assert spool.excused
    spool.alarms.disk("")


def test_a_courier_that_has_events_and_does_nothing_is_found_out() -> None:
    pulse = Pulse(Spool(), lambda: [Courier()])  # type: ignore[list-item, return-value]
    assert not look_for_long(pulse)
    assert pulse.stalled == "the courier of oncall"


@pytest.mark.parametrize(
    "change",
    [
        {"lag": 0},
        {"in_flight": 1},
        {"waiting": 2, "state": "retrying"},
        {"state": "paused"},
        {"state": "stuck"},
        {"state": "opening"},
        {"state": "stopped"},
        {"next_try_us": 5},
    ],
    ids=str,
)
def test_a_courier_that_waits_for_what_has_an_end_is_well(change: dict[str, Any]) -> None:
    assert should_move(BUSY)
    assert not should_move(replace(BUSY, **change))


def test_a_courier_that_reads_on_or_delivers_is_well() -> None:
    courier = Courier()
    pulse = Pulse(Spool(), lambda: [courier])  # type: ignore[list-item, return-value]
    for turn in range(3 * LOOKS):
        courier.position += turn % 2
        courier.now = replace(courier.now, counts=Counts(delivered=(turn + 1) // 2))
        assert pulse.look()


def test_couriers_that_make_way_for_what_comes_in_are_well() -> None:
    assert look_for_long(Pulse(Spool(held=9), lambda: [Courier()]))  # type: ignore[list-item, return-value]


def test_systemd_is_given_signs_of_life_as_often_as_it_wants_them() -> None:
    assert Pulse(Spool(), list, within=0.5).interval == 0.5
    assert Pulse(Spool(), list, within=60.0).interval == INTERVAL
    quick = Pulse(Spool(turning=False), list, within=1.0)
    assert look_for_long(quick, int(PATIENCE) - 1), "the patience is the same"
    assert not quick.look()


def test_healthz_and_readyz_know_of_it() -> None:
    moment = replace(FINE, stalled="the spool's writer")
    assert not Life("running", "", moment.stalled).is_alive
    assert Life("running", "").is_alive
    (problem,) = problems(moment)
    assert problem.blocking
    assert "the spool's writer has stood still" in problem.text
