"""The contract for plugins: everything that a plugin may import, and nothing else.

A plugin is a Python file in a folder named under `plugins.paths`, or an installed package with an entry
point in the group `tdbwatch`. The smallest one is a function:

    from tdbwatch.plugin import Event, sink

    @sink("shout")
    def shout(event: Event) -> None:
        print(event.room, event.event, event.args)

and is used by a sink of that type: `sinks: {mine: {type: shout}}`. See docs/plugins.md.
"""

from tdbwatch.plugin.event import Event, Kind
from tdbwatch.plugin.hooks import hookimpl, hookspec
from tdbwatch.plugin.options import Duration, FilePath, Options, Secret, Size
from tdbwatch.plugin.outcome import DELIVERED, Delivered, Outcome, Rejected, Retry
from tdbwatch.plugin.sink import Sink, SinkContext, SinkType, sink

__all__ = [
    "DELIVERED",
    "Delivered",
    "Duration",
    "Event",
    "FilePath",
    "Kind",
    "Options",
    "Outcome",
    "Rejected",
    "Retry",
    "Secret",
    "Sink",
    "SinkContext",
    "SinkType",
    "Size",
    "hookimpl",
    "hookspec",
    "sink",
]
