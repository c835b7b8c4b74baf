"""What authors of plugins import in their own tests."""

from tdbwatch.testing.clock import ManualClock, settle
from tdbwatch.testing.sinks import deliver, deliver_async, make_event

__all__ = ["ManualClock", "deliver", "deliver_async", "make_event", "settle"]
