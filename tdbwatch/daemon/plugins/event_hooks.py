"""Hooks that hear events: a plugin that has one is a sink, with all that sinks have.

So what carries events is never a loop over hooks: each plugin reads the log for itself, in a thread of its
own, with its own progress, deadlines, retries and dead letters.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import takewhile
from types import SimpleNamespace
from typing import Any, Final

import pluggy
from pluggy import HookImpl

from tdbwatch.daemon.plugins.hook_contract import faults_of
from tdbwatch.plugin import DELIVERED, Event, Kind, Outcome, Retry, SinkContext, SinkType
from tdbwatch.plugin.hooks import PROJECT, HookSpecs
from tdbwatch.plugin.sink import FunctionSink, Verdict, outcome_of

Hook = Callable[[Any, SinkContext], Any]

_ONE_BY_ONE: Final[Mapping[str, Kind]] = {
    "tdbwatch_event": Kind.EVENT,
    "tdbwatch_gap": Kind.GAP,
    "tdbwatch_room": Kind.ROOM,
    "tdbwatch_node": Kind.NODE,
}
"""The hooks that get one record at a time, and of which kind."""
_BATCHES: Final = "tdbwatch_events"
"""The hook that gets events in batches."""


def event_sink(manager: pluggy.PluginManager, plugin: str) -> SinkType | None:
    """The sink that a plugin is by its hooks; None: it has none that hears anything.

    Raises:
        ValueError: it takes events in two ways, or its name cannot be a sink's.
    """
    hooks = {
        name: _callable(found)
        for name in (*_ONE_BY_ONE, _BATCHES)
        for found in getattr(manager.hook, name).get_hookimpls()
        if found.plugin_name == plugin
    }
    if not hooks:
        return None
    if _BATCHES in hooks and "tdbwatch_event" in hooks:
        message = f"it has both tdbwatch_event and {_BATCHES}, and would get each event twice; remove one"
        raise ValueError(message)
    factory = functools.partial(HookSink, hooks)
    about = (manager.get_plugin(plugin).__doc__, *(hook.__doc__ for hook in hooks.values()))
    factory.__doc__ = next(filter(None, about), None)
    kinds = frozenset(str(_ONE_BY_ONE.get(name, Kind.EVENT)) for name in hooks)
    return SinkType(plugin, factory, hears=kinds)


def sink_by_hooks(plugin: object, name: str) -> SinkType | None:
    """The same of a plugin that is not loaded: a module, an object, or one function that is a hook.

    Raises:
        TypeError: one of its hooks does not fit.
        ValueError: as `event_sink`.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    if hasattr(plugin, f"{PROJECT}_impl"):
        plugin = SimpleNamespace(**{plugin.__name__: plugin})  # type: ignore[attr-defined]
    for fault, where in faults_of(plugin):
        raise TypeError(f"{fault} ({where})")
    manager.register(plugin, name)
    return event_sink(manager, name)


def _callable(found: HookImpl) -> Hook:
    """What calls it; a hook may leave out the arguments that it does not need."""
    takes_context, takes_what = "context" in found.argnames, set(found.argnames) - {"context"}

    @functools.wraps(found.function)
    def call(what: Any, context: SinkContext) -> Any:
        more = {"context": context} if takes_context else {}
        return found.function(**dict.fromkeys(takes_what, what), **more)

    return call


class HookSink(FunctionSink):
    """Calls a plugin's hooks with what they are for. A record that it has no hook for is nothing to it."""

    def __init__(self, hooks: Mapping[str, Hook], options: Any, context: SinkContext) -> None:
        self._by_kind: dict[str, Callable[[Event], Any]] = {
            kind: self._given(hooks[name], context) for name, kind in _ONE_BY_ONE.items() if name in hooks
        }
        self._batches = self._given(hooks[_BATCHES], context) if _BATCHES in hooks else None
        super().__init__(self._hear, options, context)

    @staticmethod
    def _given(hook: Hook, context: SinkContext) -> Callable[[Any], Any]:
        @functools.wraps(hook)
        def call(what: Any) -> Any:
            return hook(what, context)

        return call

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        """What comes after records of the other sort waits for the next call."""
        if self._batches is None:
            return await super().deliver(batch)
        in_batches = batch[0].kind == Kind.EVENT
        run = list(takewhile(lambda event: (event.kind == Kind.EVENT) is in_batches, batch))
        if not in_batches:
            return await super().deliver(run)
        verdict = self._batches(run)
        if isinstance(verdict, Awaitable):
            verdict = await verdict
        if len(run) < len(batch) and (verdict is None or isinstance(verdict, Outcome)):
            return verdict if isinstance(verdict, Retry) else [verdict or DELIVERED] * len(run)
        return verdict  # type: ignore[no-any-return]  # the courier checks what plugins return

    async def _hear(self, event: Event) -> Outcome:
        hook = self._by_kind.get(event.kind)
        return DELIVERED if hook is None else await outcome_of(hook, event)
