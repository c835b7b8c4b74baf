"""Checks: calls that are cancelled, the end of a sink, and what it leaves behind."""

from collections.abc import Callable, Sequence
from typing import Final

from tdbwatch.testing.conformance.census import Census
from tdbwatch.testing.conformance.fault import fault
from tdbwatch.testing.conformance.subject import Subject, delivered_of

_TURNS: Final = (0, 1, 2, 3, 5, 8, 13, 21)
"""Turns of the event loop after which calls are cancelled."""
_CUTS: Final = (1, 4, 9)
"""The same within each life that is looked at for leaks."""
_IN_THE_MIDDLE: Final = 0.2
"""Seconds that a sink has to get to where its destination does not answer."""
_LIVES: Final = 3
"""One leaf may be a cache; what each life leaves behind is a leak."""
_LEFT: Final[Sequence[tuple[Callable[[Census, Census], list[str]], str, str]]] = (
    (Census.threads_since, "a thread behind", "end and join it in close"),
    (Census.descriptors_since, "a file descriptor open", "close it in close"),
    (
        Census.processes_since,
        "a process behind",
        "end it in close, or where its call is cancelled, and wait for it",
    ),
)


class Ending(Subject):
    """Cancelled calls, and `close`."""

    def test_it_can_be_stopped_while_its_destination_does_not_answer(self) -> None:
        """At the deadline, and when the daemon stops."""
        events = self._events(2)
        with self._life() as life:
            life.open()
            with self.stalled():
                outcomes = life.cut(events, _IN_THE_MIDDLE)
                if delivered_of(events, outcomes):
                    what = "it said that an event is delivered while its destination did not answer"
                    fault(what, "wait for the answer")
            self._taken(events, life.deliver(events))
            life.close()

    def test_it_works_on_after_a_cancelled_delivery(self) -> None:
        with self._life() as life:
            life.open()
            for turns in _TURNS:
                events = self._events(3)
                life.cut_deliver(events, turns)
                self._taken(events, life.deliver(events))
            life.close()

    def test_it_can_be_closed_after_a_cancelled_open(self) -> None:
        for turns in _TURNS[1:]:
            with self._life() as life:
                life.cut_open(turns)
                life.close()

    def test_it_can_be_closed_after_open_failed(self) -> None:
        """Or was cut off at its first line."""
        with self._life() as life:
            life.cut_open(0)
            life.close()

    def test_it_can_be_closed(self) -> None:
        with self._life() as life:
            life.open()
            life.deliver(self._events(2))
            life.close()

    def test_no_task_is_left(self) -> None:
        with self._life() as life:
            life.open()
            life.deliver(self._events(2))
            life.watched.counts_tasks = True
            life.close()
            if life.watched.left:
                what = f"after close its task {life.watched.left[0]} still runs"
                fault(what, "cancel it in close, and await it")

    def test_no_thread_descriptor_or_process_is_left(self) -> None:
        """What each life leaves behind; the first one may fill caches."""
        self._live()
        before = Census.take()
        for _ in range(_LIVES):
            self._live()
        if not self._eventually(lambda: _left_since(before) is None) and (left := _left_since(before)):
            what, name, remedy = left
            fault(f"each time that it is opened and closed it leaves {what}: {name}", remedy)

    def _live(self) -> None:
        with self._life() as life:
            life.open()
            for turns in _CUTS:
                life.cut_deliver(self._events(2), turns)
            life.deliver(self._events(2))
            life.close()


def _left_since(before: Census) -> tuple[str, str, str] | None:
    """What there is more of by one for each life, the name of one, and the remedy."""
    now = Census.take()
    for more, what, remedy in _LEFT:
        names = more(now, before)
        if len(names) >= _LIVES:
            return what, names[0], remedy
    return None
