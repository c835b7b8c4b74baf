"""Checks: what becomes of events."""

from collections.abc import Callable

from tdbwatch.plugin import Delivered, Event, Rejected
from tdbwatch.testing.conformance import hostile
from tdbwatch.testing.conformance.fault import fault
from tdbwatch.testing.conformance.life import OWN_STATE
from tdbwatch.testing.conformance.subject import Subject, delivered_of


class Delivering(Subject):
    """Ordinary events, and a destination that fails."""

    def test_what_it_says_is_delivered_is_there(self) -> None:
        """Before it is closed: after a crash nobody closes it."""
        events = self._events(4)
        with self._life() as life:
            life.open()
            self._taken(events[:1], life.deliver(events[:1]))
            self._taken(events, life.deliver(events[1:]))

    def test_order_is_kept(self) -> None:
        events = self._events(9)
        with self._life() as life:
            life.open()
            for start in range(0, 9, 3):
                self._taken(events[: start + 3], life.deliver(events[start : start + 3]))
        self._in_order(events)

    def test_nothing_is_lost_by_a_restart(self) -> None:
        events = self._events(6)
        for part in (events[:3], events[3:]):
            with self._life() as life:
                life.open()
                life.deliver(part)
                life.close()
        self._there(
            (event.id for event in events), "keep what is there when you open, and flush before you return"
        )

    def test_an_event_may_come_twice(self) -> None:
        """As it does after a crash."""
        events = self._events(3)
        with self._life() as life:
            life.open()
            for part in (events[:2], events[:2], events):
                self._taken(part, life.deliver(part))

    def test_several_batches_may_be_under_way_at_once(self) -> None:
        """As `max_in_flight` allows; the daemon takes another room for each, here it is one."""
        events = self._events(9)
        batches = [events[start : start + 3] for start in range(0, 9, 3)]
        with self._life() as life:
            life.open()
            outcomes = [one for told in life.together(batches) for one in told]
            self._taken(events, outcomes, OWN_STATE)
            for batch in batches:
                self._in_order(batch)
            life.close()

    def test_a_failure_that_passes_loses_nothing(self) -> None:
        self._fail(after=0)

    def test_a_batch_may_fail_in_the_middle(self) -> None:
        self._fail(after=2)

    def _fail(self, after: int) -> None:
        __tracebackhide__ = True
        events = self._events(5)
        with self._life() as life:
            with self.failing(after):
                outcomes = life.attempt(events) if life.try_open() else []
                for outcome in outcomes:
                    if isinstance(outcome, Rejected):
                        what = f"it rejected an event because its destination failed: {outcome.reason}"
                        fault(what, "return Retry(reason), since trying again can help")
                self._there(event.id for event in delivered_of(events, outcomes))
            life.open()
            finished = [one for one in outcomes if isinstance(one, Delivered)]
            self._taken(events, life.deliver(events[len(finished) :]))
            self._in_order(events)
            life.close()

    def test_an_event_that_can_never_be_delivered_harms_no_other(self) -> None:
        poison, (before, after) = self.poison(), self._events(2)
        with self._life() as life:
            life.open()
            first, refused, last = life.deliver([before, poison, after])
            if not isinstance(refused, Rejected):
                fault("it delivered what poison() made", "return Rejected(reason) for it, or mend poison()")
            self._taken([before, after], [first, last])


class Hostility(Subject):
    """Events that nobody means to emit: they may be rejected, and must not stop the others."""

    def test_events_without_anything(self) -> None:
        self._survive(hostile.empty)

    def test_huge_events(self) -> None:
        self._survive(hostile.huge)

    def test_deep_events(self) -> None:
        self._survive(hostile.deep)

    def test_text_that_is_not_utf_8(self) -> None:
        self._survive(hostile.not_unicode)

    def test_numbers_that_json_does_not_have(self) -> None:
        self._survive(hostile.numbers)

    def test_bytes(self) -> None:
        self._survive(hostile.binary)

    def test_odd_names(self) -> None:
        self._survive(hostile.names)

    def test_records_of_tdbwatch_itself(self) -> None:
        self._survive(hostile.gap)

    def _survive(self, make: Callable[[], Event]) -> None:
        __tracebackhide__ = True
        before, after = self._events(2)
        alone, among = make(), make()
        with self._life() as life:
            life.open()
            life.deliver([alone])
            first, _, last = life.deliver([before, among, after])
            self._taken([before, after], [first, last])
            life.close()
