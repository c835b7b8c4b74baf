"""Finding, importing and registering plugins; whatever one of them does, the others go on."""

from tdbwatch.daemon.plugins.loading import load_plugins
from tdbwatch.daemon.plugins.registry import PluginInfo, PluginProblem, Registry

__all__ = ["PluginInfo", "PluginProblem", "Registry", "load_plugins"]
