"""The spool: one durable, append-only log that every courier reads from its own cursor (docs/delivery.md)."""

from tdbwatch.daemon.spool.api import Attempt, DamageReport, DeadLetter, DropReport, Entry, Spool, SpoolError
from tdbwatch.daemon.spool.sqlite import SqliteSpool

__all__ = [
    "Attempt",
    "DamageReport",
    "DeadLetter",
    "DropReport",
    "Entry",
    "Spool",
    "SpoolError",
    "SqliteSpool",
]
