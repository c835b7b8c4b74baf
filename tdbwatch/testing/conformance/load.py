"""Check: the daemon is stopped while it delivers, and started again."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final
from unittest import SkipTest

from tdbwatch.plugin import Event, Options, sink
from tdbwatch.testing.background import BackgroundLoop
from tdbwatch.testing.conformance.fault import fault
from tdbwatch.testing.conformance.subject import Subject
from tdbwatch.testing.running import EmbeddedNode, RunningDaemon

_EVENTS: Final = 100
_SINK: Final = "test"
_SOON: Final = {"initial": "50ms", "max": "100ms"}
"""How long to wait between attempts."""


class Load(Subject):
    """The sink in the daemon, with a real spool."""

    def test_nothing_is_lost_when_the_daemon_stops_under_load(self) -> None:
        with BackgroundLoop() as background, tempfile.TemporaryDirectory() as folder:
            node = EmbeddedNode(background)
            try:
                self._stop_under_load(node, Path(folder))
            finally:
                node.stop()

    def _stop_under_load(self, node: EmbeddedNode, folder: Path) -> None:
        __tracebackhide__ = True
        daemon, heard, name = self._daemon(node, folder)
        for number in range(_EVENTS):
            one = self.an_event(number)
            daemon.emit(one.event, *one.args)
            if number == _EVENTS // 2:
                daemon.heard()  # from here on there is something to lose
        daemon.stop()
        daemon.start()
        try:
            self._drain(daemon, name, "the daemon was stopped under load")
        finally:
            daemon.stop()
        self._there(event.id for event in heard)
        self._in_order(heard)

    def test_nothing_is_lost_when_a_reload_opens_it_anew(self) -> None:
        """With other settings, while events come: the one before is closed first."""
        with BackgroundLoop() as background, tempfile.TemporaryDirectory() as folder:
            node = EmbeddedNode(background)
            try:
                self._reload_under_load(node, Path(folder))
            finally:
                node.stop()

    def _reload_under_load(self, node: EmbeddedNode, folder: Path) -> None:
        __tracebackhide__ = True
        daemon, heard, name = self._daemon(node, folder)
        sinks = daemon.config["sinks"]
        try:
            for number in range(_EVENTS):
                one = self.an_event(number)
                daemon.emit(one.event, *one.args)
                if number == _EVENTS // 2:
                    daemon.heard()  # from here on there is something to lose
                    changed = {**sinks.get(name, {}), "batch": {"count": 7}}
                    verdict = daemon.reload(sinks={**sinks, name: changed})
                    if not verdict.accepted:
                        fault(f"the reload was refused: {verdict.problems[0].message}", "mend the options")
            self._drain(daemon, name, "a reload opened it anew")
        finally:
            daemon.stop()
        self._there(event.id for event in heard)
        self._in_order(heard)

    def _daemon(self, node: EmbeddedNode, folder: Path) -> tuple[RunningDaemon, list[Event], str]:
        """The sink in the daemon, what the daemon heard, and the sink's name."""
        heard: list[Event] = []

        @sink("conformance-witness")
        def witness(event: Event) -> None:
            heard.append(event)

        made = self._sink_type()
        if isinstance(self.options, Options):
            raise SkipTest("give options as users write them, and the kit tries the sink in the daemon")
        own = {} if made.hears else {_SINK: {"type": made.name, "retry": _SOON, **self.options}}
        name = made.name if made.hears else _SINK
        config = {
            "sinks": {**own, "witness": {"type": "conformance-witness"}},
            "routes": [{"to": [name, "witness"]}],
        }
        return RunningDaemon(config, [made, witness], folder, node), heard, name

    def _drain(self, daemon: RunningDaemon, name: str, when: str) -> None:
        """A slow sink has as long as it takes, if only it gets on."""
        __tracebackhide__ = True
        finished = -1
        while (counts := daemon.sink(name).counts).delivered + counts.rejected > finished:
            finished = counts.delivered + counts.rejected
            with suppress(TimeoutError):
                daemon.drained(self.limit)
                return
        status = daemon.sink(name)
        what = f"after {when}, {status.lag} events were not delivered any more"
        fault(what, f"see why: {status.health.last_error or 'it says nothing'}")
