"""What authors of plugins import in their own tests.

Nothing here needs pytest but `tdbwatch.testing.fixtures`, which is a plugin of it.
"""

from tdbwatch.testing.clock import ManualClock, settle
from tdbwatch.testing.conformance import SinkConformance
from tdbwatch.testing.http_server import HttpAnswer, HttpRequest, HttpServer
from tdbwatch.testing.programs import Program, free_port, program_path
from tdbwatch.testing.running import EmbeddedNode, RunningDaemon
from tdbwatch.testing.sinks import deliver, deliver_async, make_event

__all__ = [
    "EmbeddedNode",
    "HttpAnswer",
    "HttpRequest",
    "HttpServer",
    "ManualClock",
    "Program",
    "RunningDaemon",
    "SinkConformance",
    "deliver",
    "deliver_async",
    "free_port",
    "make_event",
    "program_path",
    "settle",
]
