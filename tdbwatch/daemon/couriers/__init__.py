"""Couriers: one per sink, each with its own cursor, deadlines and retries (docs/delivery.md)."""

from tdbwatch.daemon.couriers.courier import Courier
from tdbwatch.daemon.couriers.settings import BatchLimits, Counts, CourierSettings, CourierStatus, SinkHealth
from tdbwatch.daemon.couriers.unended import Life

__all__ = ["BatchLimits", "Counts", "Courier", "CourierSettings", "CourierStatus", "Life", "SinkHealth"]
