"""The hooks, by pluggy: those that hear events, and those that register things or observe the daemon.

Each call of a hook goes to one plugin at a time, off the event loop and with a deadline, so what one plugin
does wrong there is logged with its name and touches nobody else. A plugin with a hook that hears events is a
sink under its own name.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from tdbwatch.plugin.event import Event
    from tdbwatch.plugin.options import Options
    from tdbwatch.plugin.outcome import Outcome
    from tdbwatch.plugin.sink import SinkContext, SinkType, Verdict

PROJECT = "tdbwatch"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """Every hook that tdbwatch calls."""

    @hookspec
    def tdbwatch_event(
        self, event: "Event", context: "SinkContext"
    ) -> "Outcome | Awaitable[Outcome | None] | None":
        """An event was heard. What is returned or raised means what it means for every sink."""

    @hookspec
    def tdbwatch_events(
        self, batch: "Sequence[Event]", context: "SinkContext"
    ) -> "Verdict | Awaitable[Verdict]":
        """Events were heard: several at once, oldest first. Instead of `tdbwatch_event`."""

    @hookspec
    def tdbwatch_gap(
        self, gap: "Event", context: "SinkContext"
    ) -> "Outcome | Awaitable[Outcome | None] | None":
        """Events of a room were missed or dropped: `gap.details` says since when, until when and why."""

    @hookspec
    def tdbwatch_room(
        self, change: "Event", context: "SinkContext"
    ) -> "Outcome | Awaitable[Outcome | None] | None":
        """A room was joined, lost, deleted or made anew: `change.event` says which."""

    @hookspec
    def tdbwatch_node(
        self, change: "Event", context: "SinkContext"
    ) -> "Outcome | Awaitable[Outcome | None] | None":
        """A node was connected or lost, or said that it changes its state: `change.event` says which."""

    @hookspec
    def tdbwatch_sinks(self) -> "Iterable[SinkType]":  # type: ignore[empty-body]
        """The sink types that this plugin offers. Called once, while the configuration is read."""

    @hookspec
    def tdbwatch_config(self, options: "Options") -> None:
        """The configuration was read: these are the plugin's own options, `plugins.options.NAME`.

        The annotation of the argument names their model: `def tdbwatch_config(options: GeoOptions)`. Called
        before events come, and again when a reload has changed them.
        """

    @hookspec
    def tdbwatch_functions(self) -> "Mapping[str, Callable[..., Any]]":  # type: ignore[empty-body]
        """Functions that expressions may call, by name. Their annotations say what they take and give."""

    @hookspec
    def tdbwatch_filters(self) -> "Mapping[str, Callable[..., Any]]":  # type: ignore[empty-body]
        """Filters for templates, by name: each takes the value, and perhaps more, and returns another."""

    @hookspec
    def tdbwatch_started(self, version: str) -> None:
        """The daemon runs: its spool is open and its sinks are being opened."""

    @hookspec
    def tdbwatch_reloaded(self, verdict: "Mapping[str, Any]") -> None:
        """A reload is done: `verdict["verdict"]` is `reloaded`, `unchanged` or `refused`.

        The rest of it is as in records of kind `config`.
        """

    @hookspec
    def tdbwatch_stopping(self) -> None:
        """The daemon is about to stop; sinks still deliver."""
