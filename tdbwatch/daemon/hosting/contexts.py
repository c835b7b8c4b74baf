"""What each sink gets of the daemon: its logger, clock, metrics, client and store."""

from dataclasses import dataclass

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.hosting.reacting import Reacting
from tdbwatch.daemon.hosting.stores import Stores
from tdbwatch.plugin import SinkClient, SinkContext, SinkMetrics, SinkStore
from tdbwatch.plugin.metrics import PluginMetrics


@dataclass(frozen=True, slots=True)
class Contexts:
    """Makes the contexts of all sinks.

    Attributes:
        reacting: the way to ThingsDB; None: there is none.
        stores: what sinks keep, loaded; None: each begins with nothing, and nothing lasts.
    """

    clock: Clock
    metrics: PluginMetrics
    reacting: Reacting | None = None
    stores: Stores | None = None

    def of(self, sink: str, timeout: float) -> SinkContext:
        """That of one sink, whose calls of ThingsDB have `timeout` seconds if they do not say."""
        return SinkContext(
            sink,
            structlog.get_logger(f"tdbwatch.sink.{sink}").bind(sink=sink),
            self.clock,
            SinkMetrics(sink, self.metrics),
            SinkClient(None if self.reacting is None else self.reacting.way(timeout)),
            SinkStore() if self.stores is None else self.stores.of(sink),
        )
