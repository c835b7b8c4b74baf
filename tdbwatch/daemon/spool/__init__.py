"""The spool: a durable log that every sink reads for itself (docs/delivery.md)."""

from tdbwatch.daemon.spool.api import (
    Attempt,
    DamageReport,
    DeadLetter,
    DropReport,
    Entry,
    Spool,
    SpoolError,
)

__all__ = ["Attempt", "DamageReport", "DeadLetter", "DropReport", "Entry", "Spool", "SpoolError"]
