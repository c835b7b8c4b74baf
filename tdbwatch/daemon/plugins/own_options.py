"""The options that a plugin has of its own, beside those of its sinks: `tdbwatch_config`."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pluggy

from tdbwatch.plugin import Options


class ContractError(Exception):
    """The plugin breaks the contract, or needs another version of it."""


def options_model(manager: pluggy.PluginManager, plugin: str) -> type[Options] | None:
    """The model of the plugin's own options, which its hook names; None: it has no such hook.

    Raises:
        ContractError: it names none.
    """
    for found in manager.hook.tdbwatch_config.get_hookimpls():
        if found.plugin_name == plugin:
            return _model_of(found.function)
    return None


def _model_of(hook: Callable[..., Any]) -> type[Options]:
    try:
        model = get_type_hints(hook).get("options")
    except Exception as error:  # noqa: BLE001 - a name that is not there, or whatever an annotation does
        raise ContractError(f"the annotation of tdbwatch_config cannot be read: {error}") from None
    if inspect.isclass(model) and issubclass(model, Options):
        return model
    raise ContractError(
        "tdbwatch_config does not say which options it takes; annotate its argument with their model, a "
        "subclass of tdbwatch.plugin.Options: def tdbwatch_config(options: MyOptions)"
    )
