"""What authors of plugins import in their own tests."""

from tdbwatch.testing.clock import ManualClock, settle

__all__ = ["ManualClock", "settle"]
