"""`${NAME}` and `${NAME:-default}` inside strings, from the environment.

Only in strings that YAML has already parsed: what a variable holds can never become structure. What it
holds may be a secret, so only its name is ever shown.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tdbwatch.daemon.config.problems import Path, RefusedError
from tdbwatch.daemon.config.text.tree import Tree

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def substitute(tree: Tree, environ: Mapping[str, str]) -> None:
    """Replace every reference in the tree's strings; complain of each that cannot be."""
    _visit(tree, (), tree.data, environ)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its references replaced; `$${` stands for a literal `${`.

    Raises:
        RefusedError: a variable is not set and has no default, or a reference is malformed.
    """
    return _REFERENCE.sub(lambda match: _value(match, environ), text)


def _visit(tree: Tree, path: Path, value: Any, environ: Mapping[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _visit(tree, (*path, key), item, environ)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _visit(tree, (*path, index), item, environ)
    elif isinstance(value, str) and "${" in value:
        _replace(tree, path, value, environ)


def _replace(tree: Tree, path: Path, text: str, environ: Mapping[str, str]) -> None:
    names = [match["name"] for match in _REFERENCE.finditer(text) if match["name"]]
    if names:
        tree.written[path] = _REFERENCE.sub("", text)
        tree.origins[path] = "what " + ", ".join(f"${{{name}}}" for name in dict.fromkeys(names)) + " holds"
    try:
        tree.put(path, expand(text, environ))
    except RefusedError as complaint:
        tree.complain(path, complaint.message, complaint.remedy)


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$${":
        return "${"
    name, default = match["name"], match["default"]
    if name is None:
        raise RefusedError(
            "a ${ that begins no reference",
            "write ${NAME} or ${NAME:-default}; for a literal ${ write $${",
        )
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise RefusedError(
            f"the environment variable {name} is not set", f"set it, or give a default: ${{{name}:-default}}"
        )
    if _SURROGATE.search(value):
        raise RefusedError(f"the environment variable {name} is not UTF-8 text", "set it to UTF-8 text")
    return value
