"""Which nodes to test against: what the environment says."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .cluster import RealCluster

HOW_TO: Final = (
    "real nodes are needed: set TDBWATCH_THINGSDB_BIN to a ThingsDB node's binary, which starts a cluster of "
    "its own, or TDBWATCH_TEST_NODES to host:port,... of running nodes (and TDBWATCH_TEST_AUTH to "
    "user:password or a token, if it is not admin:pass)"
)


@dataclass(frozen=True)
class Target:
    """The nodes to test against. `cluster` only if they were started here, and so may be hurt."""

    nodes: tuple[str, ...]
    websockets: tuple[str, ...]
    auth: tuple[str, ...]
    cluster: RealCluster | None = None


@contextmanager
def open_target(folder: Path) -> Iterator[Target | None]:
    """The running nodes that the environment names, or a fresh cluster in `folder`, or None.

    Raises:
        ClusterError: the cluster does not start.
        OSError: there is no such binary.
    """
    if named := os.environ.get("TDBWATCH_TEST_NODES"):
        yield _running(named, os.environ.get("TDBWATCH_TEST_AUTH", "admin:pass"))
    elif binary := os.environ.get("TDBWATCH_THINGSDB_BIN"):
        cluster = RealCluster(Path(binary).resolve(strict=True), folder)
        try:
            asyncio.run(cluster.start())
            yield Target(
                tuple(node.address for node in cluster.nodes),
                tuple(node.websocket for node in cluster.nodes),
                cluster.auth,
                cluster,
            )
        finally:
            cluster.stop()
    else:
        yield None


def _running(named: str, auth: str) -> Target:
    nodes = [node.strip() for node in named.split(",") if node.strip()]
    websockets = [node for node in nodes if "://" in node]
    return Target(
        tuple(node for node in nodes if node not in websockets), tuple(websockets), tuple(auth.split(":", 1))
    )
