"""Which plugins are sinks by their hooks, as far as can be told without importing them."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from tdbwatch.daemon.plugins.sources import Candidate, find

_HOOK: Final = re.compile(r"\bdef tdbwatch_(event|events|gap|room|node)\b")


def sinks_by_hooks(paths: Sequence[Path], disable: Collection[str] = ()) -> list[str]:
    """The names of plugins in whose code there is a hook that hears, for commands that import none."""
    return [
        found.name
        for found in find(paths)
        if isinstance(found, Candidate) and found.name not in disable and any(map(_HOOK.search, _code(found)))
    ]


def _code(plugin: Candidate) -> Iterator[str]:
    if not plugin.files:
        return
    place = Path(plugin.files)
    for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
        try:
            yield file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
