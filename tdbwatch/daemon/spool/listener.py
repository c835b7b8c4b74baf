"""Who hears what gap records should tell of."""

from typing import Protocol

from tdbwatch.daemon.spool.api import DamageReport, DropReport


class Listener(Protocol):
    """Hears, in the event loop, what gap records should tell of."""

    def dropped(self, report: DropReport) -> None:
        """Undelivered events were given up."""

    def damaged(self, report: DamageReport) -> None:
        """A damaged file was replaced."""


class Deaf:
    """Hears nothing."""

    def dropped(self, report: DropReport) -> None:
        pass

    def damaged(self, report: DamageReport) -> None:
        pass
