"""What was loaded: sink types and who offers them, plugins, and what went wrong."""

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import pluggy
import structlog

from tdbwatch.daemon.config.offers import Offers
from tdbwatch.daemon.expressions.functions import Function
from tdbwatch.daemon.plugins.guard import Call, place_of, reason_of, story_of
from tdbwatch.daemon.plugins.hook_contract import place_of_code
from tdbwatch.daemon.plugins.on_disk import OnDisk
from tdbwatch.plugin import Options, SinkType
from tdbwatch.plugin.hooks import PROJECT, HookSpecs
from tdbwatch.plugin.metrics import PluginMetrics
from tdbwatch.redaction import presentable

HOOK_SECONDS: Final = 10.0
"""How long a plugin's hook may take."""
NOTIFY_SECONDS: Final = 2.0
"""How long those hooks may take that start and stop of the daemon wait for."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin that was loaded."""

    name: str
    origin: str
    """`built-in`, `package NAME VERSION`, or the path of its file."""
    version: str
    sinks: tuple[str, ...]
    files: str = ""
    """Where its own code is."""


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """Something that a plugin did wrong. Everything else goes on.

    Attributes:
        remedy: what to do, commands in backticks; empty: what holds for all, to mend it or to disable it.
    """

    plugin: str
    where: str
    """`file:line` where that is known."""
    reason: str
    traceback: str = ""
    remedy: str = ""

    @property
    def placed(self) -> str:
        """The reason with its place, unless it says that itself."""
        return self.reason if not self.where or self.where in self.reason else f"{self.reason} ({self.where})"

    def __str__(self) -> str:
        remedy = f"; remedy: {self.remedy}" if self.remedy else ""
        return f"plugin {self.plugin}: {self.placed}{remedy}"


@dataclass(frozen=True, slots=True)
class Resting:
    """A function or filter that is not called now, so that it has no value.

    Attributes:
        kind: `function` or `filter`.
        state: `stuck`: a call has not come back; `slow`: calls took too long.
        seconds: for how long it has been stuck; or after how long a slow one is called again.
    """

    plugin: str
    kind: str
    name: str
    state: Literal["stuck", "slow"]
    seconds: float


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    return manager


@dataclass(slots=True)
class Registry:
    """All plugins. Make one with `load_plugins`."""

    sink_types: Offers = field(default_factory=Offers)
    plugins: list[PluginInfo] = field(default_factory=list)
    problems: list[PluginProblem] = field(default_factory=list)
    warnings: list[PluginProblem] = field(default_factory=list)
    """What is odd, but no mistake."""
    manager: pluggy.PluginManager = field(default_factory=_new_manager)
    hook_seconds: float = HOOK_SECONDS
    functions: dict[str, Function] = field(default_factory=dict)
    """Those that plugins add to expressions, by name."""
    filters: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Those that plugins add to templates, by name."""
    on_disk: OnDisk | None = None
    """What there was to load; None: nobody looked."""
    metrics: PluginMetrics = field(default_factory=PluginMetrics)
    _owners: dict[str, str] = field(default_factory=dict)

    def owner_of(self, sink_type: str) -> str:
        """The name of the plugin that offers `sink_type`.

        Raises:
            KeyError: nobody does.
        """
        return self._owners[sink_type]

    def offer(self, plugin: str, sink_type: SinkType) -> str | None:
        """Take in what `plugin` offers, or return the plugin that offers a type of this name already."""
        if sink_type.name in self._owners:
            return self._owners[sink_type.name]
        self._owners[sink_type.name] = plugin
        self.sink_types[sink_type.name] = sink_type
        return None

    def configure(self, options: Mapping[str, Options]) -> None:
        """Give plugins their own options, before anything else of them is called. Blocks."""
        for name in options:
            self._configure(name, options[name])

    def _configure(self, name: str, options: Options) -> None:
        plugin = next(one for one in self.plugins if one.name == name)
        caller = self.caller_for("tdbwatch_config", name)
        try:
            Call(lambda: caller(options=options), f"tdbwatch_config {name}").wait(self.hook_seconds)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            self.report_error(name, "tdbwatch_config", error, plugin.files)

    def lent_by(self, plugin: str) -> dict[str, list[str]]:
        """The functions and filters that a plugin adds, as far as it adds some."""
        lent = {
            "functions": {name: one.call for name, one in self.functions.items()},
            "filters": self.filters,
        }
        found = {
            what: [name for name, call in calls.items() if getattr(call, "plugin", "") == plugin]
            for what, calls in lent.items()
        }
        return {what: names for what, names in found.items() if names}

    @property
    def resting(self) -> tuple[Resting, ...]:
        """The functions and filters of plugins that are not called now."""
        lent = [*(one.call for one in self.functions.values()), *self.filters.values()]
        states = (getattr(call, "resting", None) for call in lent)
        return tuple(state for state in states if state is not None)

    async def notify_started(self, version: str) -> None:
        """Call every plugin's `tdbwatch_started`; what goes wrong in one is logged with its name."""
        await self._notify("tdbwatch_started", version=version)

    async def notify_reloaded(self, verdict: Mapping[str, Any]) -> None:
        """Call every plugin's `tdbwatch_reloaded`, likewise; each gets the verdict as a copy of its own."""
        await self._notify("tdbwatch_reloaded", verdict=verdict)

    async def notify_stopping(self) -> None:
        """Call every plugin's `tdbwatch_stopping`, likewise."""
        await self._notify("tdbwatch_stopping")

    def report(self, problem: PluginProblem) -> None:
        """Keep the problem and log it."""
        problem = replace(problem, reason=presentable(problem.reason))
        self.problems.append(problem)
        details = {"remedy": problem.remedy, "exception": problem.traceback}
        _log.error(
            "plugin.problem",
            plugin=problem.plugin,
            reason=problem.reason,
            where=problem.where,
            **{key: text for key, text in details.items() if text},
        )

    def hook_place(self, hook: str, plugin: str) -> str:
        """`file:line` of this plugin's `hook`; empty: it has none."""
        found = self.caller_for(hook, plugin).get_hookimpls()
        return place_of_code(found[0].function) if found else ""

    def warn(self, event: str, problem: PluginProblem) -> None:
        """Keep what is odd and log it, under the code `event`."""
        self.warnings.append(problem)
        _log.warning(event, plugin=problem.plugin, reason=problem.reason, where=problem.where)

    def report_error(
        self, plugin: str, doing: str, error: BaseException, files: str = "", otherwise: str = ""
    ) -> None:
        """Keep and log that `plugin` raised `error`, or hung, while it was `doing` something."""
        place, reason = place_of(error, files, otherwise), f"{doing}: {reason_of(error)}"
        self.report(PluginProblem(plugin, place, reason, story_of(error)))

    def caller_for(self, hook: str, plugin: str) -> pluggy.HookCaller:
        """A caller of `hook` in this one plugin."""
        others = [other for name, other in self.manager.list_name_plugin() if name != plugin]
        return self.manager.subset_hook_caller(
            hook, remove_plugins=[one for one in others if one is not None]
        )

    async def _notify(self, hook: str, **arguments: Any) -> None:
        await asyncio.gather(*(self._notify_one(hook, plugin, arguments) for plugin in self.plugins))

    async def _notify_one(self, hook: str, plugin: PluginInfo, arguments: dict[str, Any]) -> None:
        caller = self.caller_for(hook, plugin.name)
        if not caller.get_hookimpls():
            return
        seconds = min(self.hook_seconds, NOTIFY_SECONDS)
        try:
            await Call(lambda: caller(**deepcopy(arguments)), f"{hook} {plugin.name}").wait_async(seconds)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            self.report_error(plugin.name, hook, error, plugin.files)
