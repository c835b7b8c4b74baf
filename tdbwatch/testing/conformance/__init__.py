"""The conformance kit: one class to subclass, and a sink is put through all that the daemon may do to it."""

from tdbwatch.testing.conformance.delivering import Delivering, Hostility
from tdbwatch.testing.conformance.ending import Ending
from tdbwatch.testing.conformance.fault import ConformanceError
from tdbwatch.testing.conformance.outage import Outage

__all__ = ["ConformanceError", "SinkConformance"]


class SinkConformance(Delivering, Hostility, Ending, Outage):
    """The tests of a sink, for a subclass that says which.

        class TestMine(SinkConformance):
            sink = MySink
            options = {"address": "http://127.0.0.1:8080"}

    Each test checks one promise; its failure says in one sentence what is wrong and what to do. What needs a
    word of yours (`failing`, `stalled`, `poison`, `restart`) is skipped until you say it; whether events
    really arrive is checked once you define `delivered`. The tests are no coroutines, so what your sink
    talks to must not need the test's own event loop.
    """
