"""A node and a daemon that run beside the test: the real ones, in a thread of their own."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.node import Cluster
from tdbwatch.plugin import SinkClient
from tdbwatch.testing.background import BackgroundLoop
from tdbwatch.testing.sinks import offers_sink, sink_type_of

if TYPE_CHECKING:
    from tdbwatch.daemon.config.document import Document
    from tdbwatch.daemon.couriers import CourierStatus
    from tdbwatch.daemon.hosting.reacting import Reacting
    from tdbwatch.daemon.plugins import Registry
    from tdbwatch.daemon.reload.verdict import Verdict
    from tdbwatch.daemon.supervisor import Daemon

_T = TypeVar("_T")

ROOM: Final = "alerts"
SCOPE: Final = "//stuff"
_ASKING_SECONDS: Final = 10.0
"""How long a sink's call of the node may take, where it does not say."""


class EmbeddedNode:
    """A cluster of one embedded node with the room `alerts` in `//stuff`; the user `admin`, password `pass`.

    Attributes:
        address: `HOST:PORT`.
        cluster: the cluster; it lives in another thread, so use it through `call`.
        background: where it runs.
    """

    def __init__(self, background: BackgroundLoop) -> None:
        self.background = background
        self.cluster = background.run(_started_cluster())
        self.address = str(self.cluster.nodes[0].address)
        self._asking: Reacting | None = None

    def emit(self, event: str, *args: Any, room: int | str = ROOM, scope: str = SCOPE) -> None:
        """Emit as if code on the node had called `room.emit()`."""
        self.call(lambda cluster: cluster.emit(scope, room, event, *args))

    def call(self, function: Callable[[Cluster], _T]) -> _T:
        """What a function of the cluster returns, such as `lambda c: c.add_room("//stuff", "deploys")`."""
        return self.background.call(lambda: function(self.cluster))

    def client(self) -> SinkClient:
        """What a sink asks this node with, as `context.client`: `deliver(..., client=node.client())`."""
        if self._asking is None:
            self._asking = self.background.run(_connected(self.address))
        return SinkClient(self._asking.way(_ASKING_SECONDS))

    def stop(self) -> None:
        """Stop it, and let go of its port."""
        if self._asking is not None:
            self.background.run(self._asking.client.close_and_wait())
        self.background.run(self.cluster.__aexit__(None, None, None))


async def _connected(address: str) -> "Reacting":
    """The way of sinks to the node, as the daemon has it."""
    from tdbwatch.client import Client
    from tdbwatch.daemon.hosting.echoes import Echoes
    from tdbwatch.daemon.hosting.reacting import Reacting

    client = Client()
    client.set_default_scope(SCOPE)
    await client.connect_pool([address], "admin", "pass")
    return Reacting(client, Echoes(SYSTEM_CLOCK))


async def _started_cluster() -> Cluster:
    cluster = Cluster()
    cluster.add_room(SCOPE, ROOM)
    cluster.on_query("nil")
    return await cluster.__aenter__()


class RunningDaemon:
    """The daemon with a spool in a folder, connected to an embedded node. It is running once it is made.

    In an async test, what it talks to in the same event loop is held up meanwhile: there, call its methods
    with `asyncio.to_thread`.

    Args:
        config: sections of a configuration, as in YAML. `thingsdb`, `rooms` and `spool` are the test's own
            where they are not given.
        plugins: sinks beside those that are installed: what `@sink` decorates, hooks, or a module with these.

    Attributes:
        config: all of the configuration; `reload` changes it.

    Raises:
        ConfigError: the configuration is not right.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        plugins: Sequence[object],
        folder: Path,
        node: EmbeddedNode,
    ) -> None:
        self.node = node
        self._plugins = plugins
        self._background = node.background
        self.config: dict[str, Any] = {
            "thingsdb": {"nodes": [node.address], "auth": {"username": "admin", "password": "pass"}},
            "rooms": [ROOM],
            "spool": {"path": str(folder / "spool.db")},
            **config,
        }
        self._file = folder / "tdbwatch.yaml"
        self._daemon: Daemon | None = None
        self.start()

    @property
    def daemon(self) -> "Daemon":
        """The daemon that runs now; it lives in another thread."""
        assert self._daemon is not None, "it is stopped; call start()"
        return self._daemon

    def emit(self, event: str, *args: Any, room: int | str = ROOM, scope: str = SCOPE) -> None:
        """Emit on the node."""
        self.node.emit(event, *args, room=room, scope=scope)

    def start(self) -> None:
        """Start it, after `stop`: on the same spool, as after a restart."""
        self._daemon = self._background.run(self._started())

    def stop(self) -> None:
        """Stop it in order; what sinks have not taken by the end of `shutdown.grace` stays in the spool."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            self._background.run(daemon.stop())

    def reload(self, **sections: Any) -> "Verdict":
        """Take up a configuration that has these sections instead; returns what came of it."""
        self.config |= sections
        return self._background.run(self.daemon.reload())

    def heard(self) -> None:
        """Return when all that was emitted is durable, whatever sinks do."""
        self._background.run(self._heard())

    def drained(self, limit: float | None = None) -> None:
        """Return when every sink is finished with all that was emitted.

        Args:
            limit: seconds to wait at most; by default 30.

        Raises:
            TimeoutError: some sink is not.
        """
        self._background.run(self._drained(), limit)

    def sink(self, name: str) -> "CourierStatus":
        """How a sink is doing: its `lag`, its `counts.delivered`, its `health.last_error`, and so on."""
        return next(one for one in self._background.call(self.daemon.couriers) if one.sink == name)

    async def _started(self) -> "Daemon":
        daemon = self._make()
        try:
            await daemon.start()
        except BaseException:
            await daemon.stop()
            raise
        return daemon

    async def _heard(self) -> None:
        await self.daemon.client.query("nil", scope=SCOPE)  # answered after all that was pushed before
        self.daemon.source.flush()
        await self.daemon.spool.flush()

    async def _drained(self) -> None:
        await self._heard()
        await self.daemon.drained()

    def _make(self) -> "Daemon":
        from tdbwatch.daemon.plugins import load_plugins
        from tdbwatch.daemon.supervisor import Daemon

        wanted = self._read().plugins()
        registry = load_plugins(wanted.paths, wanted.disable)
        for plugin in self._plugins:
            _add(registry, plugin)
        config = self._read().config(registry.sink_types)
        registry.configure(config.plugin_options)
        return Daemon(config, registry, read=lambda: self._read().config(registry.sink_types))

    def _read(self) -> "Document":
        from tdbwatch.daemon.config import parse

        return parse(json.dumps(self.config).encode(), str(self._file), os.environ)


def _add(registry: "Registry", plugin: object) -> None:
    """Take in what is tested: it counts, even where something of its name is installed."""
    from tdbwatch.daemon.plugins.loading import adopt

    name = plugin.__name__.rpartition(".")[2] if isinstance(plugin, ModuleType) else "test"
    if isinstance(plugin, ModuleType):
        adopt(registry, plugin, name)
        if not offers_sink(plugin):
            return
    sink_type = sink_type_of(plugin, name)
    if registry.offer(sink_type.name, sink_type) is not None:
        registry.sink_types[sink_type.name] = sink_type
