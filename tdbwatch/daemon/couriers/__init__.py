"""Couriers: one per sink, each with its own cursor, deadlines and retries (docs/delivery.md)."""

from tdbwatch.daemon.couriers.courier import Courier, CourierStatus
from tdbwatch.daemon.couriers.settings import BatchLimits, CourierSettings

__all__ = ["BatchLimits", "Courier", "CourierSettings", "CourierStatus"]
