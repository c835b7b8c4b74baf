"""The spool: a durable log that every sink reads for itself (docs/delivery.md)."""

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, Spool, SpoolError
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.stored.drops import Loss, Tally

__all__ = ["Attempt", "DamageReport", "DeadLetter", "Entry", "Loss", "Spool", "SpoolError", "Tally"]
