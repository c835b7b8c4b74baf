"""The contract for plugins: everything that a plugin may import, and nothing else.

A plugin is a Python file in a folder named under `plugins.paths`, or an installed package with an entry
point in the group `tdbwatch`. The smallest one is a hook:

    from tdbwatch.plugin import Event, hookimpl

    @hookimpl
    def tdbwatch_event(event: Event) -> None:
        print(event.room, event.event, event.args)

and gets every event, as the sink that is called what the plugin is called. See docs/plugins.md.
"""

from typing import Final

from tdbwatch.plugin.client import LoopError, SinkClient
from tdbwatch.plugin.event import Event, Kind
from tdbwatch.plugin.hooks import hookimpl, hookspec
from tdbwatch.plugin.json_template import JsonTemplate
from tdbwatch.plugin.metrics import Counter, Gauge, Histogram, SinkMetrics
from tdbwatch.plugin.options import Duration, FilePath, OptionError, Options, Secret, Size
from tdbwatch.plugin.outcome import DELIVERED, Delivered, Outcome, Rejected, Retry
from tdbwatch.plugin.sink import Sink, SinkContext, SinkType, sink
from tdbwatch.plugin.store import SinkStore
from tdbwatch.plugin.template import Template
from tdbwatch.plugin.template_text import TemplateError
from tdbwatch.plugin.tls import Tls
from tdbwatch.plugin.tracing import trace_headers

API_VERSION: Final = 1
"""The version of this contract. It grows when something is added; nothing is taken away within one version of
tdbwatch before its first number changes. A plugin that needs a version says so: `__tdbwatch_api__ = 1`."""

__all__ = [
    "API_VERSION",
    "DELIVERED",
    "Counter",
    "Delivered",
    "Duration",
    "Event",
    "FilePath",
    "Gauge",
    "Histogram",
    "JsonTemplate",
    "Kind",
    "LoopError",
    "OptionError",
    "Options",
    "Outcome",
    "Rejected",
    "Retry",
    "Secret",
    "Sink",
    "SinkClient",
    "SinkContext",
    "SinkMetrics",
    "SinkStore",
    "SinkType",
    "Size",
    "Template",
    "TemplateError",
    "Tls",
    "hookimpl",
    "hookspec",
    "sink",
    "trace_headers",
]
