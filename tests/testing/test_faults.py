"""The kit names the fault of each of these sinks, and finds none where there is none."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from unittest import SkipTest

import pytest

from tdbwatch.plugin import Event, Options, Sink, SinkType
from tdbwatch.testing import SinkConformance, make_event
from tdbwatch.testing.conformance import ConformanceError, outage

from . import broken
from .broken import there


class Told(SinkConformance):
    """All that an author can say of a sink."""

    def delivered(self) -> Sequence[str]:
        return there.ids

    def failing(self, after: int) -> AbstractContextManager[None]:
        return there.failing(after)

    def stalled(self) -> AbstractContextManager[None]:
        return there.stalled()

    def restart(self) -> None:
        with there.failing(0):
            assert there.refused.wait(20), "somebody came meanwhile"

    def poison(self) -> Event:
        return make_event("alerts", "poison", ["x"])


class TestGood(Told):
    sink = SinkType("good", broken.Good)


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(outage, "_EVENTS", 300)
    there.__init__()  # type: ignore[misc]
    broken.LeaksThread.ends.clear()
    yield
    there.answers.set()
    for process in broken.LeaksProcess.started:
        process.kill()
        process.wait()
    for opened in (broken.LeaksDescriptor.opened, broken.LeaksWhenCancelled.opened):
        for descriptor in opened:
            with suppress(OSError):
                os.close(descriptor)
        opened.clear()
    broken.LeaksThread.ends.set()


FAULTS = [
    ("Blocks", "it_can_be_stopped_while_its_destination_does_not_answer", "deliver blocks its event loop"),
    (
        "SwallowsCancellation",
        "it_can_be_stopped_while_its_destination_does_not_answer",
        "deliver goes on after it was cancelled; let asyncio.CancelledError through",
    ),
    (
        "HangsWhenCancelled",
        "it_works_on_after_a_cancelled_delivery",
        "deliver goes on after it was cancelled; let asyncio.CancelledError through",
    ),
    ("LeaksTask", "no_task_is_left", "after close its task LeaksTask.poll still runs; cancel it in close"),
    (
        "LeaksThread",
        "no_thread_descriptor_or_process_is_left",
        "leaves a thread behind: poller; end and join it",
    ),
    (
        "LeaksDescriptor",
        "no_thread_descriptor_or_process_is_left",
        "leaves a file descriptor open: /dev/null; close it",
    ),
    (
        "LeaksProcess",
        "no_thread_descriptor_or_process_is_left",
        "leaves a process behind: sleep; end it in close",
    ),
    (
        "LeaksWhenCancelled",
        "no_thread_descriptor_or_process_is_left",
        "leaves a file descriptor open: /dev/null; close it",
    ),
    ("AnswersTooMuch", "what_it_says_is_delivered_is_there", "it answered 2 outcomes for 1 events; return"),
    ("AnswersTrue", "what_it_says_is_delivered_is_there", "it returned a bool where None, Delivered, Retry"),
    (
        "RaisesInClose",
        "it_can_be_closed_after_open_failed",
        "close raised AttributeError: 'RaisesInClose' object has no attribute 'connection'; let it work",
    ),
    ("RaisesAlwaysInClose", "it_can_be_closed", "close raised RuntimeError: it is closed already"),
    ("HangsInClose", "it_can_be_closed", "close did not come back within 1 s; cancel tasks before"),
    ("Reverses", "order_is_kept", "events of one room in another order than it got them; finish one"),
    (
        "ChangesTheList",
        "what_it_says_is_delivered_is_there",
        "deliver changed the list of events that it was given; work on a copy: list(batch)",
    ),
    (
        "ForgetsAtOpen",
        "nothing_is_lost_by_a_restart",
        "3 of 6 events that it said are delivered are not there; keep what is there when you open",
    ),
    (
        "ForgetsAtOpen",
        "nothing_is_lost_when_the_daemon_stops_under_load",
        "events that it said are delivered are not there",
    ),
    (
        "ForgetsAtOpen",
        "nothing_is_lost_when_a_reload_opens_it_anew",
        "events that it said are delivered are not there",
    ),
    (
        "SharesItsBatch",
        "several_batches_may_be_under_way_at_once",
        "6 of 9 events that it said are delivered are not there; keep what belongs to one call of deliver",
    ),
    (
        "RefusesTwo",
        "several_batches_may_be_under_way_at_once",
        "deliver raised RuntimeError: another read is under way while another batch was under way; keep",
    ),
    (
        "Buffers",
        "what_it_says_is_delivered_is_there",
        "1 of 1 events that it said are delivered are not there; return DELIVERED when it is there",
    ),
    (
        "RejectsFailures",
        "a_failure_that_passes_loses_nothing",
        "it rejected an event because its destination failed: the destination is away; return Retry",
    ),
    (
        "HidesFailures",
        "a_batch_may_fail_in_the_middle",
        "3 of 5 events that it said are delivered are not there",
    ),
    (
        "GoesOnAfterFailures",
        "a_batch_may_fail_in_the_middle",
        "it delivered an event although one before it, in the same room, is to be tried again; stop at",
    ),
    (
        "RejectsThemAll",
        "an_event_that_can_never_be_delivered_harms_no_other",
        "it rejected an event that is nothing special: no such event; ",
    ),
    (
        "HidesFailures",
        "nothing_is_lost_when_its_destination_is_killed_and_started_again",
        "of 300 events that it said are delivered are not there; return DELIVERED when it is durable there",
    ),
    (
        "NumbersThemItself",
        "nothing_is_lost_when_its_destination_is_killed_and_started_again",
        "events came with ids of their own; bring event.id, the same at every attempt",
    ),
    (
        "HidesFailures",
        "an_event_that_can_never_be_delivered_harms_no_other",
        "it delivered what poison() made; return Rejected(reason) for it",
    ),
    (
        "RaisesForOne",
        "events_without_anything",
        "deliver raised IndexError: list index out of range for an event '' with 1 bytes of arguments; "
        "mend it; for an event that can never be delivered, return Rejected(reason)",
    ),
    (
        "KeepsTheLock",
        "it_works_on_after_a_cancelled_delivery",
        "deliver did not come back within 1 s, with nothing wrong",
    ),
    (
        "KnowsEachId",
        "an_event_may_come_twice",
        "it asked for a retry 5 times in a row, with nothing wrong: duplicate key",
    ),
    (
        "DoesNotWait",
        "it_can_be_stopped_while_its_destination_does_not_answer",
        "it said that an event is delivered while its destination did not answer; wait for the answer",
    ),
    ("Exits", "what_it_says_is_delivered_is_there", "deliver raised SinkExitError: it raised SystemExit"),
    (
        "NeverOpens",
        "what_it_says_is_delivered_is_there",
        "open raised ConnectionRefusedError: wrong port, with the options of this test",
    ),
    ("LeavesAllOut", "what_it_says_is_delivered_is_there", "it answered 0 outcomes for 1 events"),
]


HANGING = {
    "Blocks", "SwallowsCancellation", "HangsWhenCancelled", "HangsInClose", "KeepsTheLock",
    "LeaksTask", "LeaksThread", "LeaksDescriptor", "LeaksProcess", "LeaksWhenCancelled",
}  # fmt: skip
"""They are known by what has not happened when the time is over."""


@pytest.mark.parametrize(("name", "check", "said"), FAULTS, ids=[f"{one[0]}-{one[1]}" for one in FAULTS])
def test_the_fault_is_named_with_its_remedy(name: str, check: str, said: str) -> None:
    class Test(Told):
        sink = SinkType("broken", getattr(broken, name))
        limit = 1.0 if name in HANGING else 20.0

        def _eventually(self, condition: Callable[[], bool]) -> bool:
            """What these deliver is there at once, if it is."""
            return super()._eventually(condition) if name in HANGING else condition()

    with pytest.raises(ConformanceError, match=re.escape(said)) as caught:
        getattr(Test(), f"test_{check}")()
    assert "\n" not in str(caught.value)


def test_every_broken_sink_is_in_the_list() -> None:
    made = {name for name, one in vars(broken).items() if isinstance(one, type) and issubclass(one, Sink)}
    assert made - {"Sink", "Good"} == {name for name, *_ in FAULTS}


@pytest.mark.parametrize(
    ("hook", "check"),
    [
        ("failing", "a_failure_that_passes_loses_nothing"),
        ("failing", "a_batch_may_fail_in_the_middle"),
        ("stalled", "it_can_be_stopped_while_its_destination_does_not_answer"),
        ("poison", "an_event_that_can_never_be_delivered_harms_no_other"),
    ],
)
def test_what_needs_a_word_of_the_author_is_skipped_and_says_so(hook: str, check: str) -> None:
    class Test(SinkConformance):
        sink = SinkType("good", broken.Good)

    with pytest.raises(SkipTest, match=rf"define {hook}\(.*\), and the kit checks "):
        getattr(Test(), f"test_{check}")()


def test_options_that_no_user_wrote_keep_it_from_the_daemon_only() -> None:
    class Test(Told):
        sink = SinkType("good", broken.Good)
        options = Options()

    Test().test_order_is_kept()
    with pytest.raises(SkipTest, match="give options as users write them"):
        Test().test_nothing_is_lost_when_the_daemon_stops_under_load()
