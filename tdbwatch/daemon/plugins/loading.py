"""Loading: every plugin by itself, so that one that fails, hangs or ends the program harms no other."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tdbwatch.daemon.expressions import declare
from tdbwatch.daemon.plugins.event_hooks import event_sink
from tdbwatch.daemon.plugins.guard import Call
from tdbwatch.daemon.plugins.hook_contract import KNOWN, faults_of
from tdbwatch.daemon.plugins.lending import filters_of, functions_of
from tdbwatch.daemon.plugins.on_disk import OnDisk, states_of
from tdbwatch.daemon.plugins.own_options import ContractError, options_model
from tdbwatch.daemon.plugins.registry import HOOK_SECONDS, PluginInfo, PluginProblem, Registry
from tdbwatch.daemon.plugins.sources import Candidate, Refused, api_version_in, find
from tdbwatch.plugin import API_VERSION, SinkType
from tdbwatch.plugin.sink import marked
from tdbwatch.plugin.template import declare_filters

IMPORT_SECONDS: Final = 10.0
"""How long a plugin may take to import."""

_SLOW: Final = 2.0
"""Seconds after which it is said that a plugin makes the start wait."""
_ONE_OF_TWO: Final = "uninstall it, or the other one; only its author can rename it"


def load_plugins(
    paths: Sequence[Path] = (),
    disable: Collection[str] = (),
    *,
    import_seconds: float = IMPORT_SECONDS,
    hook_seconds: float = HOOK_SECONDS,
) -> Registry:
    """Load tdbwatch's own plugins, the installed ones, and the files of the folders `paths`.

    Never raises for what a plugin does: see `Registry.problems`. Blocks; a plugin that hangs takes its
    deadline.

    Args:
        paths: folders; each `*.py` in them whose name does not begin with `_` or `.` is a plugin.
        disable: names of plugins not to import.
    """
    registry = Registry(hook_seconds=hook_seconds)
    there, known = list(find(paths)), set()
    registry.on_disk = OnDisk(tuple(paths), frozenset(disable), states_of(there, disable))
    for found in there:
        known.add(found.name)
        if isinstance(found, Refused):
            registry.report(PluginProblem(found.name, found.where, found.reason, remedy=found.remedy))
        elif found.name not in disable:
            _load(registry, found, import_seconds)
    for name in sorted(set(disable) - known):
        registry.warn(
            "plugin.unknown", PluginProblem(name, "", "plugins.disable names it, but there is none")
        )
    _report_unknown_hooks(registry)
    declare(registry.functions.values())
    declare_filters(registry.filters)
    return registry


def adopt(registry: Registry, plugin: ModuleType, name: str) -> None:
    """Take in all of a module that is imported already but its sinks, as the plugin of this name."""
    files = str(plugin.__file__ or "") if hasattr(plugin, "__file__") else ""
    candidate = Candidate(name, "given", "", files, "", lambda: plugin)
    registry.manager.register(plugin, name)
    registry.plugins.append(PluginInfo(name, candidate.origin, "", (), files))
    _take_hooks(registry, candidate)
    declare(registry.functions.values())
    declare_filters(registry.filters)


def _take_hooks(registry: Registry, candidate: Candidate) -> None:
    """The hooks that say what a configuration may name, sinks apart."""
    if (model := options_model(registry.manager, candidate.name)) is not None:
        registry.sink_types.plugin_options[candidate.name] = model
    _borrow(registry, candidate)


def _load(registry: Registry, candidate: Candidate, import_seconds: float) -> None:
    if owner := next((one for one in registry.plugins if one.name == candidate.name), None):
        reason = f"there is already a plugin of this name ({owner.origin})"
        remedy = "rename this file" if candidate.is_file else _ONE_OF_TWO
        registry.report(PluginProblem(candidate.name, candidate.origin, reason, remedy=remedy))
        return
    try:
        work = Call(lambda: _import(candidate), f"import of plugin {candidate.name}")
        if not work.ends_within(min(_SLOW, import_seconds)):
            reason = f"it is slow to import; it has {import_seconds:g} s, and the start waits"
            registry.warn("plugin.slow", PluginProblem(candidate.name, candidate.files, reason))
        plugin, version, offers = work.wait(import_seconds)
    except BaseException as error:  # noqa: BLE001 - plugins raise anything, SystemExit too
        registry.report_error(candidate.name, "it cannot be imported", error, candidate.files)
        return
    offers = list(dict.fromkeys([*offers, *_hooked(registry, candidate, plugin)]))
    sinks = tuple(offer.name for offer in offers if _accept(registry, candidate, offer))
    registry.plugins.append(PluginInfo(candidate.name, candidate.origin, version, sinks, candidate.files))
    told = any(problem.plugin == candidate.name for problem in registry.problems)
    if not (sinks or told or registry.manager.get_hookcallers(plugin)):
        reason = "it has no sink and no hook; write @sink(NAME) or @hookimpl above a function of the module"
        registry.warn("plugin.idle", PluginProblem(candidate.name, candidate.files, reason))


def _import(candidate: Candidate) -> tuple[Any, str, list[SinkType]]:
    try:
        plugin = candidate.load()
    except ImportError as error:  # of what a newer tdbwatch has, perhaps
        try:
            _check_version(api_version_in(candidate) or API_VERSION)
        except ContractError as reason:
            raise reason.with_traceback(error.__traceback__) from None
        raise
    _check_version(getattr(plugin, "__tdbwatch_api__", API_VERSION))
    return plugin, candidate.version or str(getattr(plugin, "__version__", "")), _marked_in(plugin)


def _check_version(needed: object) -> None:
    """Refuse what was written for a contract that this tdbwatch does not have.

    Raises:
        ContractError: says which, and the remedy.
    """
    if type(needed) is not int or needed < 1:
        raise ContractError(
            f"__tdbwatch_api__ is {needed!r}; it must be a whole number such as {API_VERSION}"
        )
    if needed > API_VERSION:
        remedy = "install a newer tdbwatch, or an older version of the plugin"
        raise ContractError(
            f"it needs version {needed} of the plugin contract, and this is {API_VERSION}; {remedy}"
        )


def _marked_in(plugin: Any) -> list[SinkType]:
    """What `@sink` marks in a module, or the one thing that an entry point names."""
    if not isinstance(plugin, ModuleType):
        one = marked(plugin)
        return [one] if one else []
    own = _package_of(plugin.__name__)
    return [
        made
        for target in list(vars(plugin).values())
        if (made := marked(target)) is not None and _is_within(getattr(target, "__module__", ""), own)
    ]


def _package_of(module: str) -> str:
    """What counts as the plugin's own: its whole package. tdbwatch's own share one; there, the module."""
    package = module.partition(".")[0]
    return module if package == "tdbwatch" else package


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _hooked(registry: Registry, candidate: Candidate, plugin: Any) -> list[SinkType]:
    """Register the plugin's hooks and ask for its sinks."""
    try:
        if faults := list(faults_of(plugin)):
            for fault, where in faults:
                reason = f"none of its hooks is called: {fault}"
                registry.report(PluginProblem(candidate.name, where or candidate.files, reason))
            return []
        registry.manager.register(plugin, candidate.name)
        caller = registry.caller_for("tdbwatch_sinks", candidate.name)
        _take_hooks(registry, candidate)
        call = Call(lambda: _collect(caller()), f"tdbwatch_sinks of plugin {candidate.name}")
        return [*call.wait(registry.hook_seconds), *_heard(registry, candidate)]
    except ContractError as error:
        where = registry.hook_place("tdbwatch_config", candidate.name)
        registry.report(PluginProblem(candidate.name, where, f"its options are not read: {error}"))
    except BaseException as error:  # noqa: BLE001
        place = registry.hook_place("tdbwatch_sinks", candidate.name)
        registry.report_error(candidate.name, "tdbwatch_sinks", error, candidate.files, place)
    return []


def _borrow(registry: Registry, candidate: Candidate) -> None:
    """Take in the plugin's functions and filters."""
    for hook in ("tdbwatch_functions", "tdbwatch_filters"):
        caller = registry.caller_for(hook, candidate.name)
        faults = list[BaseException]()
        try:
            for found in Call(caller, f"{hook} of plugin {candidate.name}").wait(registry.hook_seconds):
                if hook == "tdbwatch_functions":
                    registry.functions |= functions_of(candidate.name, found, registry.functions, faults)
                else:
                    registry.filters |= filters_of(candidate.name, found, registry.filters, faults)
        except BaseException as error:  # noqa: BLE001
            faults.append(error)
        for fault in faults:
            place = registry.hook_place(hook, candidate.name)
            registry.report_error(candidate.name, hook, fault, candidate.files, place)


def _heard(registry: Registry, candidate: Candidate) -> list[SinkType]:
    """The sink that the plugin is by its event hooks."""
    try:
        made = event_sink(registry.manager, candidate.name)
    except (TypeError, ValueError) as error:
        where = candidate.files or candidate.origin
        registry.report(PluginProblem(candidate.name, where, f"its event hooks are not called: {error}"))
        return []
    return [] if made is None else [made]


def _collect(results: Iterable[Iterable[SinkType]]) -> list[SinkType]:
    found = list[SinkType]()
    for result in results:
        if not isinstance(result, Iterable):
            raise TypeError(f"it gave {type(result).__name__}; it must give a list of SinkType")
        found += result
    return found


def _accept(registry: Registry, candidate: Candidate, offer: Any) -> bool:
    """Take the sink type in; whether it was."""
    if not isinstance(offer, SinkType):
        gave = (offer if isinstance(offer, type) else type(offer)).__name__
        reason = f'tdbwatch_sinks gave {gave}; it must give SinkType("NAME", CLASS) objects'
    elif owner := registry.offer(candidate.name, offer):
        there = " twice" if owner == candidate.name else f", which plugin {owner} offers already"
        reason = f"it offers the sink type {offer.name}{there}; the first one counts"
    else:
        return True
    where = registry.hook_place("tdbwatch_sinks", candidate.name) or candidate.files or candidate.origin
    registry.report(PluginProblem(candidate.name, where, reason))
    return False


def _report_unknown_hooks(registry: Registry) -> None:
    """Hooks that tdbwatch will never call: a slip of the pen, or a newer version's."""
    for name, caller in vars(registry.manager.hook).items():
        if name.startswith("_") or caller.has_spec():
            continue
        for implementation in caller.get_hookimpls():
            if not implementation.optionalhook:
                code = implementation.function.__code__
                reason = f"{name} is not a hook of tdbwatch; known are {', '.join(KNOWN)}"
                where = f"{code.co_filename}:{code.co_firstlineno}"
                registry.report(PluginProblem(implementation.plugin_name, where, reason))
