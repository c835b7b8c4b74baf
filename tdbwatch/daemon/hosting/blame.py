"""Whether a plugin's own code is to blame for an error, or what it talks to. Pure."""

from typing import Final

_OUTSIDE: Final = (OSError, BaseExceptionGroup, Warning)
"""What the world outside does to a plugin; a group may hold anything."""


class PluginMistakeError(Exception):
    """The plugin breaks its contract."""


def is_mistake(error: BaseException) -> bool:
    """Whether only a mended plugin helps. A guess, by what Python itself raises for."""
    if isinstance(error, PluginMistakeError):
        return True
    return type(error).__module__ == "builtins" and not isinstance(error, _OUTSIDE)
