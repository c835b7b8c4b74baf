"""Check: what the sink talks to is killed and started again, while events go on coming."""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from tdbwatch.testing.background import BackgroundLoop
from tdbwatch.testing.conformance.fault import fault
from tdbwatch.testing.conformance.load import Load
from tdbwatch.testing.conformance.subject import Subject
from tdbwatch.testing.running import EmbeddedNode

_RATE: Final = 1_000
"""Events a second."""
_EVENTS: Final = int(os.environ.get("TDBWATCH_OUTAGE_EVENTS", "2000"))
_BURST: Final = 10
"""Events emitted at once: a test's own clock is not finer than some milliseconds."""


class Outage(Load):
    """The sink in the daemon; its destination goes away and comes back."""

    def test_nothing_is_lost_when_its_destination_is_killed_and_started_again(self) -> None:
        """At 1,000 events a second. `TDBWATCH_OUTAGE_EVENTS` says how many, normally 2,000."""
        if type(self).restart is Subject.restart:
            self.restart()  # says what to define
        with BackgroundLoop() as background, tempfile.TemporaryDirectory() as folder:
            node = EmbeddedNode(background)
            try:
                self._restart_under_load(node, Path(folder))
            finally:
                node.stop()

    def _restart_under_load(self, node: EmbeddedNode, folder: Path) -> None:
        __tracebackhide__ = True
        daemon, heard, name = self._daemon(node, folder)
        restarting = threading.Thread(target=self._caught, daemon=True)
        self._restart_error: BaseException | None = None
        try:
            begin = time.monotonic()
            for number in range(0, _EVENTS, _BURST):
                for one in map(self.an_event, range(number, number + _BURST)):
                    daemon.emit(one.event, *one.args)
                if number <= _EVENTS // 3 < number + _BURST:
                    restarting.start()
                time.sleep(max(0.0, begin + (number + _BURST) / _RATE - time.monotonic()))
            seconds = time.monotonic() - begin
            restarting.join()
            if self._restart_error is not None:
                raise self._restart_error
            self._drain(daemon, name, "its destination came back")
        finally:
            restarting.join()
            daemon.stop()
        ids = [event.id for event in heard]
        if len(ids) != _EVENTS:
            fault(
                f"{len(ids)} of {_EVENTS} events were heard", "let an_event(number) make what can be emitted"
            )
        if unknown := len(set(self.delivered() or ()) - set(ids)):
            fault(f"{unknown} events came with ids of their own", "bring event.id, the same at every attempt")
        self._there(ids, "return DELIVERED when it is durable there, not sooner")
        self._in_order(heard)
        doubles = len(self.delivered() or ids) - len(ids)
        print(f"{len(ids):,} events, {len(ids) / seconds:,.0f} a second; {doubles:,} came twice")

    def _caught(self) -> None:
        try:
            self.restart()
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            self._restart_error = error
