"""Nodes in trouble that are not needed: tried now and then, so that what is said of them stays true."""

from typing import Final

from tdbwatch.client.addresses import Address
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.old_servers import Group
from tdbwatch.client.links.pool import NodePool, Outcome, outcome_of
from tdbwatch.client.links.settings import AUTH_TIMEOUT, Settings
from tdbwatch.client.login import authenticate
from tdbwatch.client.words import words
from tdbwatch.wire import Push

INTERVAL: Final = 2.0
"""Seconds between two looks for a node that may be tried."""


class Spares:
    """Connects to a node in trouble, logs in, and lets go of it. Nodes that are in use are the keepers'.

    Without this a node that is back would be called down until another one fails, and a reserve that is none
    would be found out only then. How often a node is tried is the pool's to say.
    """

    def __init__(self, group: Group, pool: NodePool, settings: Settings) -> None:
        self._group = group
        self._pool = pool
        self._settings = settings

    async def run(self) -> None:
        """Look for ever."""
        clock = self._settings.clock
        while True:
            await clock.sleep(INTERVAL)
            choice = self._pool.troubled(clock.monotonic(), self._group.in_use())
            if choice is not None and self._enough:
                await self._check(choice.address, choice.failures)

    @property
    def _enough(self) -> bool:
        """Whether every keeper has its link: one that has none tries the nodes itself."""
        return all(keeper.link is not None for keeper in self._group.keepers)

    async def _check(self, address: Address, turn: int) -> None:
        settings = self._settings
        link = Link(address, self, settings.clock, settings.heartbeat)
        try:
            await link.open(settings.ssl, settings.connect_timeout, turn)
            if settings.auth is not None:
                await authenticate(link, settings.auth, AUTH_TIMEOUT)
            link.require_live()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is in trouble still
            self._failed(address, error, link.ways)
        else:
            self._pool.recovered(address)
            settings.observer.recovered(address)
        finally:
            link.close()

    def _failed(self, address: Address, error: Exception, ways: int) -> None:
        reason, now, observer = words(error), self._settings.clock.monotonic(), self._settings.observer
        outcome, wait = self._pool.failed(address, now, outcome_of(error), reason, ways)
        if outcome is Outcome.REFUSED:
            observer.refused(address, reason, wait, by_all=False)
        else:
            observer.unreachable(address, reason, wait)

    # -- LinkOwner: it is not used for anything --------------------------------------------------------------

    def link_lost(self, link: Link, reason: Exception) -> None: ...

    def link_leaving(self, link: Link) -> None: ...

    def push_heard(self, link: Link, push: Push) -> None: ...

    def emit_lost(self, link: Link) -> None: ...
