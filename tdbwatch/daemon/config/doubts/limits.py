"""Limits that do not fit each other, or the machine."""

import os
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Final

from tdbwatch.daemon.config.models.config import Sections, SpoolConfig
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.words import counted, duration

UNIT_STOP_SECONDS: Final = 30.0
"""`TimeoutStopSec=` of the unit in systemd/."""
_MIB: Final = 1 << 20


def doubt_limits(tree: Tree, sections: Sections, sinks: Sequence[SinkConfig]) -> None:
    """Warn of limits of which one makes the other useless."""
    _doubt_connections(tree, sections)
    for sink in sinks:
        _doubt_age(tree, sink, sections.spool.max_age)
    if sections.shutdown.grace >= UNIT_STOP_SECONDS:
        shipped = duration(UNIT_STOP_SECONDS)
        message = (
            f"the systemd unit that comes with tdbwatch kills it after {shipped}, before this grace ends"
        )
        hint = "set TimeoutStopSec= in the unit to more than the grace, or lower the grace"
        tree.warn(("shutdown", "grace"), message, hint)
    _doubt_space(tree, sections.spool)


def _doubt_connections(tree: Tree, sections: Sections) -> None:
    wanted, nodes = sections.thingsdb.live_connections, len(sections.thingsdb.nodes)
    if wanted > nodes:
        message = (
            f"more connections than nodes: there {'is' if nodes == 1 else 'are'} {counted(nodes, 'node')}"
        )
        hint = "each connection goes to another node: list more nodes, or write auto"
        tree.warn(("thingsdb", "connections"), message, hint)


def _doubt_age(tree: Tree, sink: SinkConfig, kept: float) -> None:
    """A `max_age` that was written and outlasts the spool's is never reached."""
    age = sink.retry.max_age
    if "max_age" not in sink.retry.model_fields_set or (age is not None and age <= kept):
        return
    message = f"it is never reached: the spool drops events after {duration(kept)}"
    hint = "raise spool.max_age above it, or lower this one: a dead letter is kept, what is dropped is not"
    tree.warn(("sinks", sink.name, "retry", "max_age"), message, hint)


def _doubt_space(tree: Tree, spool: SpoolConfig) -> None:
    """The spool may become as large as the disk has space for, and no larger."""
    space = _space(spool.path)
    if space is not None and spool.max_size > space:
        message = f"the disk has space for {space // _MIB} MiB only, less than the spool may take"
        hint = "lower max_size below that: a full disk holds up every sink, a full spool drops what is oldest"
        tree.warn(("spool", "max_size"), message, hint)


def _space(path: FilePath) -> int | None:
    """Bytes that the spool has or may still take on its disk; None: nobody can tell."""
    try:
        path = path.resolve()
        folder = next(above for above in path.parents if above.exists())
        disk = os.statvfs(folder)
        held = sum(
            file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()
        )
    except (OSError, ValueError, StopIteration, RuntimeError):
        return None
    return held + disk.f_bavail * disk.f_frsize
