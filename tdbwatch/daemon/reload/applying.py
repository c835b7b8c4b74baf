"""Makes a configuration the one in use. All that can fail is done first; what follows cannot, in one step.

In that step nothing waits: between two events everything changes at once, so that no event is judged by half
of each configuration. What takes time, such as joining a room or closing a sink, only begins there.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tdbwatch.blocking import in_own_thread
from tdbwatch.daemon import logs
from tdbwatch.daemon.assembly import heartbeat_of, limits_of, make_router
from tdbwatch.daemon.config import Config, ConfigError, Problem
from tdbwatch.daemon.intake.watched import WatchedRoom
from tdbwatch.daemon.parts import Parts
from tdbwatch.daemon.reload.plan import Plan, plan
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.security.login import LoadedTls, load_tls
from tdbwatch.daemon.security.rotation import keep_up
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.daemon.showing import Showing
from tdbwatch.daemon.spool.api import Progress, SpoolError
from tdbwatch.redaction import redact

SETTLE: Final = 2.0
"""Seconds that a reload waits for rooms to be joined and sinks to be opened; what takes longer goes on."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What must be there before anything is changed.

    Attributes:
        router: None: routes, and what they know of sinks, are as before.
        left: by sink that is new, what the spool knows of it.
        tls: for nodes, if that has changed.
    """

    router: Router | None
    left: Mapping[str, Progress | None]
    tls: LoadedTls


class Applying:
    """Takes up configurations. Each part is the only one who keeps its share of it."""

    def __init__(self, parts: Parts, showing: Showing) -> None:
        self._parts = parts
        self._showing = showing

    async def __call__(self, config: Config) -> Plan:
        """Take this one up; returns when it is in use, and nearly all that follows from it is done.

        Raises:
            ConfigError: it cannot be; nothing was changed.
        """
        parts = self._parts
        found = plan(parts.in_use.config, config)
        prepared = await self._prepare(found)
        redact.remember(secrets_in(found.config))
        if found.plugins:
            await in_own_thread(lambda: parts.registry.configure(found.plugins), "tdbwatch-plugins")
        if parts.phase == "stopping":
            raise _refused("", "the daemon is about to stop", "the next start reads what is written then")
        new = self._change(found, prepared)
        joining = parts.tasks.spawn(self._join(new), "tdbwatch-join")
        await asyncio.wait({joining}, timeout=SETTLE)
        await parts.deliveries.settled(SETTLE)
        return found

    async def _prepare(self, found: Plan) -> _Prepared:
        config, tls = found.config, None
        try:
            if "thingsdb.tls" in found.changed:
                tls = await in_own_thread(lambda: load_tls(config.thingsdb.tls), "tdbwatch-tls")
        except OSError as error:
            raise _refused("thingsdb.tls", f"the files cannot be used: {error}") from None
        try:
            left = {name: await self._parts.spool.left(name) for name in found.opened}
        except SpoolError as error:
            raise _refused("sinks", f"the spool cannot be read now: {error}") from None
        await self._parts.stores.load(found.opened)
        asked = found.changed & {"routes", "absences"} or _heard(config) != _heard(self._parts.in_use.config)
        router = make_router(config) if asked else None
        return _Prepared(router, left, tls)

    def _change(self, found: Plan, prepared: _Prepared) -> list[WatchedRoom]:
        """The step itself; returns the rooms that are to be joined."""
        parts, config = self._parts, found.config
        parts.source.flush()  # what was heard up to now is judged by what was in use
        if prepared.router is not None:
            parts.remembering.change(prepared.router)
            parts.routing.change(prepared.router, parts.spool.last_seq)
        parts.in_use.take_up(found, int(parts.clock.time() * 1e6))
        if found.opened or found.closed:
            parts.spool.use_sinks([sink.name for sink in config.sinks], prepared.left)
        parts.deliveries.change(config.sinks)
        new = parts.rooms.change(config.rooms, parts.client) if "rooms" in found.changed else []
        if "thingsdb.tls" in found.changed:
            parts.tls.change(prepared.tls)
        if "logging" in found.changed:
            logs.change(config.logging.level, config.logging.format)
        self._change_connections(found)
        if any(key.startswith("spool.") for key in found.changed):
            parts.spool.keep_to(limits_of(config.spool))
        parts.tasks.begin("secrets", keep_up(config.rotating, parts.clock))
        if "http" in found.changed:
            parts.tasks.spawn(self._showing.change(), "tdbwatch-status-anew")
        return new

    def _change_connections(self, found: Plan) -> None:
        parts, config = self._parts, found.config.thingsdb
        if "thingsdb.auth" in found.changed:
            parts.login.change(config.auth, found.config.login_file)
        parts.client.set_default_scope(config.scope)
        if "thingsdb.nodes" in found.changed:
            parts.client.use_nodes(config.nodes)
        parts.client.set_heartbeat(heartbeat_of(config))
        if "thingsdb.canary" in found.changed:
            parts.tasks.begin("sing-anew", parts.singing.take_up(config))

    async def _join(self, rooms: list[WatchedRoom]) -> None:
        await asyncio.gather(*(self._parts.client.subscribe(room.subscription) for room in rooms))


def _heard(config: Config) -> dict[str, frozenset[str]]:
    """What routes know of sinks."""
    return {sink.name: sink.hears for sink in config.sinks}


def _refused(key: str, message: str, remedy: str = "mend it, and reload again") -> ConfigError:
    return ConfigError([Problem("", 0, 0, key, message, remedy)])
