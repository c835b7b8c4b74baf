"""Ready means one thing: the log and systemd say what /readyz says, when it changes."""

from dataclasses import replace
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.status.health import is_ready, problems
from tdbwatch.daemon.status.readiness import QUIET, SHOW_AGAIN, Readiness, status_line
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.testing import ManualClock

from .status_moments import FINE, NODE, NOW, ROOM, SECOND, sink

STARTING = replace(FINE, phase="starting", nodes=(), started_us=NOW)
SICK = replace(FINE, sinks=(sink(state="paused", last_error="HTTP 410", next_try_us=NOW + SECOND),))
LOST = replace(FINE, nodes=(replace(NODE, state="unreachable"),))
REFUSED = replace(FINE, nodes=(replace(NODE, state="refusing", trouble="invalid token"),))


class Systemd:
    """Hears what systemd would hear."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def ready(self, status: str) -> None:
        self.heard.append(f"READY {status}")

    def status(self, status: str) -> None:
        self.heard.append(status)


class Watch:
    """A daemon that is made up, and what is told of it."""

    def __init__(self) -> None:
        self.now = STARTING
        self.systemd: Any = Systemd()
        self.clock = ManualClock()
        self.readiness = Readiness(lambda: self.now, self.systemd, self.clock)

    def becomes(self, snapshot: Snapshot) -> list[tuple[str, ...]]:
        """What is logged of it."""
        self.now = snapshot
        with structlog.testing.capture_logs() as logs:
            self.readiness.look()
        return [(line["event"], *line.get("reasons", ())) for line in logs]


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_it_is_told_as_ready_when_readyz_says_so_and_not_when_it_was_only_started(watch: Watch) -> None:
    lacking = replace(FINE, rooms=(replace(ROOM, state="missing"),))
    assert watch.becomes(STARTING) == []
    assert watch.becomes(lacking) == [
        ("daemon.not_ready", "Room alerts in //stuff: There is no such room: its events are missed.")
    ]
    assert not [said for said in watch.systemd.heard if said.startswith("READY")]
    assert watch.systemd.heard[-1].startswith("not ready: Room alerts in //stuff: There is no such room")
    assert watch.becomes(FINE) == [("daemon.ready",)]
    assert [said for said in watch.systemd.heard if said.startswith("READY")] == [
        "READY ready: connected to node01:9200; 1 of 1 room joined"
    ]


def test_each_change_is_said_once_to_the_log_and_to_systemd(watch: Watch) -> None:
    watch.becomes(FINE)
    [(code, reason)] = watch.becomes(SICK)
    assert (code, reason.partition(":")[0]) == ("daemon.not_ready", "Sink oncall")
    assert watch.systemd.heard[-1].startswith("not ready: Sink oncall: Paused")
    assert watch.becomes(SICK) == []
    told = len(watch.systemd.heard)
    assert watch.becomes(replace(SICK, taken_us=NOW + SECOND)) == []
    assert len(watch.systemd.heard) == told, "figures alone are no news"
    assert watch.becomes(FINE) == [("daemon.ready",)]
    assert watch.systemd.heard[-1] == "ready: connected to node01:9200; 1 of 1 room joined"
    assert len([said for said in watch.systemd.heard if said.startswith("READY")]) == 1


async def test_another_reason_is_said_too_but_not_with_every_flutter(watch: Watch) -> None:
    watch.becomes(FINE)
    watch.becomes(SICK)
    assert watch.becomes(LOST) == []
    await watch.clock.advance(QUIET)
    assert watch.becomes(LOST)[0][:2] == (
        "daemon.not_ready",
        "Links: No connection to ThingsDB: no event can be heard, and what is emitted now is lost to us.",
    )


async def test_systemd_gets_new_figures_now_and_then(watch: Watch) -> None:
    watch.becomes(SICK)
    told = len(watch.systemd.heard)
    await watch.clock.advance(SHOW_AGAIN)
    watch.becomes(SICK)
    assert len(watch.systemd.heard) == told + 1


@pytest.mark.parametrize(
    ("snapshot", "text"),
    [
        (STARTING, "starting: connecting to ThingsDB"),
        (replace(FINE, phase="stopping"), "stopping"),
        (replace(FINE, phase="failed"), "not ready: Daemon: A part of tdbwatch died"),
        (replace(STARTING, started_us=NOW - 11 * SECOND), "not ready: Links: No connection to ThingsDB"),
        (replace(FINE, links_wanted=2), "joined; needs a look: Links"),
        (REFUSED, "not ready: Links: Each node that answers refuses the login: no event can be heard"),
    ],
)
def test_systemds_status_is_one_line_about_how_it_is(snapshot: Snapshot, text: str) -> None:
    found = problems(snapshot)
    assert text in status_line(snapshot, found)
    assert status_line(snapshot, found).startswith("ready:") == is_ready(snapshot)


def test_a_long_reason_is_cut() -> None:
    long = replace(FINE, rooms=(replace(ROOM, state="refused", reason="x" * 10_000),))
    assert len(status_line(long, problems(long))) < 300


def test_a_start_that_each_node_refuses_says_so_at_once(watch: Watch) -> None:
    refusing = replace(NODE, state="refusing", trouble="invalid token")
    down = replace(NODE, address="node02:9200", state="unreachable", trouble="refused")
    assert watch.becomes(replace(STARTING, nodes=(down,))) == []
    [(said, reason)] = watch.becomes(replace(STARTING, nodes=(refusing, down)))
    assert said == "daemon.not_ready"
    assert "Each node that answers refuses the login" in reason
    connecting = replace(down, state="connecting")
    assert not replace(STARTING, nodes=(refusing, connecting)).starts_in_vain


def test_what_is_logged_says_what_to_do(watch: Watch) -> None:
    watch.becomes(FINE)
    watch.now = REFUSED
    with structlog.testing.capture_logs() as logs:
        watch.readiness.look()
    [line] = logs
    assert line["remedy"].startswith("See that the user or token of thingsdb.auth exists")
