"""What a watched room tells: each change of its state once, and of what could not be read how much."""

from typing import Any

import pytest
import structlog

from tdbwatch.client.addresses import Address
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import RoomConfig
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.intake.node_watch import NodeWatcher
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.intake.watched import WatchedRoom
from tdbwatch.daemon.status import Journal
from tdbwatch.exceptions import ForbiddenError, NodeError
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock
from tdbwatch.wire import ClientSession, Kind
from tdbwatch.wire.frames import encode_frame
from tdbwatch.wire.kinds import PUSH_ID

A, B = Address("tcp", "node01"), Address("tcp", "node02")


class Watch:
    """A room, what it makes of what it hears, and who watches the nodes."""

    def __init__(self, clock: Clock) -> None:
        self.records: list[Event] = []
        source = Source(self._append, clock)
        self.room = WatchedRoom(RoomConfig(name="alerts", scope="//stuff"), source, clock)
        self.nodes = NodeWatcher(source, Journal(clock), [self.room], clock)
        self.flush = source.flush

    def _append(self, runs: Any) -> None:
        self.records += [event for lane, run in runs for event in run.unpacked(lane)]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The records of a kind, in order."""
        self.flush()
        return [record.details for record in self.records if record.kind == kind]


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock(1_700_000_000)


@pytest.fixture
async def watch(clock: ManualClock) -> Watch:
    return Watch(clock)


def unreadable(args: bytes = b"", room: bytes = b"\x01") -> Any:
    """An emit as the wire gives it, of which no event can be told."""
    body = b"\x83\xa5scope\xb1@collection:stuff\xa2id" + room + b"\xa5event\x05" + args
    [emit] = ClientSession(raw_events=True).receive(encode_frame(PUSH_ID, Kind.ROOM_EMIT, body))
    return emit


async def test_a_room_that_is_missing_at_each_try_makes_one_record(watch: Watch) -> None:
    for number in range(14):
        watch.room.room_unjoinable(RoomLookupError(f"try {number}: there is no room alerts"))
    watch.room.room_unjoinable(ForbiddenError("no JOIN on //stuff"))
    watch.room.room_joined(3)
    watch.room.room_heard()
    watch.room.room_unjoinable(RoomLookupError("gone again"))
    reasons = [details.get("reason") for details in watch.told("room")]
    assert reasons == ["try 0: there is no room alerts", "no JOIN on //stuff", None, "gone again"]


async def test_events_that_cannot_be_read_are_one_gap_with_their_number(
    watch: Watch, clock: ManualClock
) -> None:
    for _ in range(3):
        watch.room.deliver(unreadable())
        watch.flush()
    await clock.advance(1)
    watch.room.deliver(unreadable())
    watch.flush()
    watch.nodes.tell_of_unreadable()
    watch.nodes.tell_of_unreadable()
    [gap] = watch.told("gap")
    assert (gap["cause"], gap["dropped"]) == ("unreadable", 4)
    assert (gap["since"], gap["until"]) == ("2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:21.000000Z")
    assert not watch.told("event")
    assert watch.records[0].room == "alerts"


async def test_events_without_a_room_are_a_gap_without_one_and_count_once_for_all_connections(
    watch: Watch,
) -> None:
    for _ in range(3):
        watch.nodes.emit_lost(A)
        watch.nodes.emit_lost(B)
    watch.nodes.tell_of_unreadable()
    [gap] = watch.told("gap")
    assert (gap["cause"], gap["dropped"], watch.records[0].room) == ("unreadable", 3, "")


async def test_a_refused_login_ends_the_gap_of_the_lost_connection_and_begins_its_own(
    watch: Watch, clock: ManualClock
) -> None:
    watch.room.room_joined(1)
    watch.nodes.connected(A)
    with structlog.testing.capture_logs() as said:
        watch.nodes.disconnected(A, "closed by the node")
    assert [(line["event"], line["log_level"]) for line in said] == [("links.none", "error")]
    watch.room.room_unheard("closed by the node", clock.monotonic())
    await clock.advance(5)
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            watch.nodes.refused(A, "node01:9200 refused the login", 30.0, by_all=True)
            await clock.advance(30)
        watch.nodes.connected(A)
    assert [(line["event"], line["log_level"]) for line in said if line["event"].startswith("links.")] == [
        ("links.login_refused", "error"),
        ("links.back", "info"),
    ]
    watch.room.room_heard()
    first, second = watch.told("gap")
    assert (first["cause"], second["cause"]) == ("connection", "login")
    assert first["until"] == second["since"]
    assert second["reason"] == "node01:9200 refused the login"


async def test_a_status_that_a_node_repeats_makes_one_record(watch: Watch) -> None:
    for status in ("READY", "READY", "AWAY_SOON", "AWAY", "AWAY", "READY"):
        watch.nodes.node_status(A, 0, status)
    watch.nodes.connected(A)
    watch.nodes.node_status(A, 0, "READY")
    said = [details.get("status") for details in watch.told("node")]
    assert said == ["READY", "AWAY_SOON", "AWAY", "READY", None, "READY"]


async def test_while_another_connection_hears_a_refusal_is_no_gap(watch: Watch) -> None:
    watch.nodes.connected(A)
    watch.nodes.refused(B, "node02:9200 refused the login", 30.0, by_all=True)
    assert watch.room.silence is None


async def test_a_node_that_is_not_ready_is_not_the_rooms_fault(watch: Watch) -> None:
    watch.room.room_unjoinable(NodeError("not ready"))
    assert watch.room.silence is not None
    assert watch.room.silence.cause is Cause.CONNECTION
