"""The hooks, by pluggy. Hooks register things and observe the lifecycle; they never carry events.

Each call of a hook goes to one plugin at a time, off the event loop and with a deadline, so what one plugin
does wrong there is logged with its name and touches nobody else.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from tdbwatch.plugin.sink import SinkType

PROJECT = "tdbwatch"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """Every hook that tdbwatch calls."""

    @hookspec
    def tdbwatch_sinks(self) -> "Iterable[SinkType]":  # type: ignore[empty-body]
        """The sink types that this plugin offers. Called once, while the configuration is read."""

    @hookspec
    def tdbwatch_started(self, version: str) -> None:
        """The daemon runs: its spool is open and its sinks are being opened."""

    @hookspec
    def tdbwatch_stopping(self) -> None:
        """The daemon is about to stop; sinks still deliver."""
