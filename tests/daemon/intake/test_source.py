"""What rooms hear becomes runs: events of one room, in order, that share all but name and arguments."""

import msgspec

from tdbwatch.daemon.config import RoomConfig
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.intake.watched import WatchedRoom
from tdbwatch.daemon.spool.stored.blocks import Heard
from tdbwatch.testing import ManualClock
from tdbwatch.wire import RawEmit
from tdbwatch.wire.codec import encode


async def records_of(args: object, *emits: tuple[int, str]) -> tuple[int, list[dict[str, object]]]:
    """How many runs what was heard in one turn makes, and the records."""
    appended: list[Heard] = []
    clock = ManualClock()
    source = Source(appended.extend, clock)
    room = WatchedRoom(RoomConfig.model_validate({"name": "logins", "args": args}), source, clock)
    for room_id, event in emits:
        room.deliver(RawEmit(room_id, event, msgspec.Raw(encode(["db1", 5]))))
    source.flush()
    events = [event for lane, run in appended for event in run.unpacked(lane)]
    return len(appended), [event.record() for event in events]


async def test_arguments_are_called_as_the_room_calls_them_for_that_event() -> None:
    args = {"failed": ("host", "count"), "*": ("what",)}
    runs, records = await records_of(args, (1, "failed"), (1, "failed"), (1, "other"), (1, "failed"))
    failed = {"host": "db1", "count": 5}
    assert [record["data"] for record in records] == [failed, failed, {"what": "db1"}, failed]
    assert runs == 3


async def test_events_that_no_name_is_given_for_have_no_data() -> None:
    runs, records = await records_of({"failed": ("host",)}, (1, "other"), (1, "another"))
    assert [sorted(record.keys() & {"data", "args"}) for record in records] == [["args"], ["args"]]
    assert runs == 1


async def test_a_room_that_was_made_anew_in_one_turn_has_two_ids() -> None:
    runs, records = await records_of(("host",), (1, "a"), (2, "b"), (2, "c"))
    assert [record["room_id"] for record in records] == [1, 2, 2]
    assert runs == 2
