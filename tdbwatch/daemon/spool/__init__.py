"""The spool: a durable log that every sink reads for itself (docs/delivery.md)."""
