"""The configuration as people may see it: merged, without secrets, and without what the environment holds."""

import re
from typing import Any, Final

from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.text.tree import SECRET, Tree
from tdbwatch.plugin.jsonable import to_json
from tdbwatch.redaction import STARS

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WIDTH: Final = 100
"""Characters that a list or mapping may take in one line."""


def shown(tree: Tree) -> str:
    """What the file, and those that it includes, say, as YAML; of secrets where they come from."""
    return "".join(_lines(_seen(tree, (), tree.data), ""))


def _seen(tree: Tree, path: Path, value: Any, *, hidden: bool = False) -> Any:
    origin = tree.origins.get(path)
    if (file := tree.files.get(path)) is not None:
        return f"{STARS} (from {file})"
    if origin is not None and origin != SECRET:
        return f"{STARS} ({origin})"
    hidden = hidden or origin is not None
    if isinstance(value, dict):
        return {key: _seen(tree, (*path, key), item, hidden=hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_seen(tree, (*path, index), item, hidden=hidden) for index, item in enumerate(value)]
    return STARS if hidden and value is not None else value


def _lines(value: Any, indent: str) -> list[str]:
    """What is short in one line, as JSON, which YAML is a superset of."""
    made: list[str] = []
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in items:
        head = indent + ("-" if key is None else f"{_flow(key)}:")
        flow = _flow(item)
        if len(head) + len(flow) <= _WIDTH or not isinstance(item, dict | list) or not item:
            made.append(f"{head} {flow}\n")
        else:
            made += [f"{head}\n", *_lines(item, indent + "  ")]
    return made


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else to_json(value).decode()


_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""What YAML takes for something else than text."""
