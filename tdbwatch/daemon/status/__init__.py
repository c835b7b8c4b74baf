"""What the daemon shows of itself over HTTP: health, readiness, metrics, status page (docs/operations.md)."""

from tdbwatch.daemon.status.journal import Journal
from tdbwatch.daemon.status.readiness import Readiness
from tdbwatch.daemon.status.snapshot import START_PATIENCE, Snapshot

__all__ = ["START_PATIENCE", "Journal", "Readiness", "Snapshot"]
