"""A tdbwatch sink that publishes events to NATS JetStream."""

from tdbwatch_nats.options import NatsOptions
from tdbwatch_nats.sink import NatsSink

__tdbwatch_api__ = 1

__all__ = ["NatsOptions", "NatsSink"]
