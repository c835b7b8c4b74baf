"""Stand-ins for sinks whose plugin did not load, so that it harms no other sink.

The daemon starts without it; the sink's events wait in the spool until the plugin is mended and the daemon
started again. `tdbwatch check` is stricter and refuses such a configuration.
"""

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import ConfigDict

from tdbwatch.daemon.hosting.blame import PluginMistakeError
from tdbwatch.daemon.plugins.registry import Registry
from tdbwatch.plugin import Event, Kind, Options, Sink, SinkContext, SinkType


class AbsentError(PluginMistakeError):
    """The sink's plugin did not load."""


class _AnyOptions(Options):
    """Nobody knows which options the real sink has, nor which of them are secret: none is kept."""

    model_config = ConfigDict(extra="ignore")


class _AbsentSink(Sink):
    """Takes nothing, and says why."""

    def __init__(self, options: Any, context: SinkContext, why: str) -> None:
        super().__init__(options, context)
        self._why = why

    async def open(self) -> None:
        raise AbsentError(self._why)

    async def deliver(self, batch: Sequence[Event]) -> None:  # noqa: ARG002
        raise AbsentError(self._why)


def stand_in(registry: Registry, types: Collection[str], hooks: Collection[str] = ()) -> None:
    """Offer a stand-in for every wanted type that nobody offers, if there are plugins that did not load.

    Args:
        types: of sinks that are configured.
        hooks: sinks that can only be plugins by their hooks.
    """
    failed = ", ".join(str(problem) for problem in registry.problems)
    if not failed:
        return
    broken = {problem.plugin for problem in registry.problems}
    for name in sorted({*types, *broken.intersection(hooks)} - registry.sink_types.keys()):
        why = f"no plugin that loads offers the sink type {name!r}; these did not load: {failed}"

        def make(options: Any, context: SinkContext, why: str = why) -> Sink:
            return _AbsentSink(options, context, why)

        hears = frozenset({str(Kind.EVENT)}) if name in hooks else frozenset[str]()
        registry.offer("(absent)", SinkType(name, make, _AnyOptions, threaded=False, hears=hears))
