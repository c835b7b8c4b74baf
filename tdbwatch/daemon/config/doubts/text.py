"""Texts that say what other programs would understand, and YAML does not."""

import re
from collections.abc import Iterator
from typing import Any, Final

from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.text.tree import Tree

_QUOTES: Final = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb"
"""What editors and chats make of straight quotes."""
_OTHERS: Final = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*|\$\([A-Za-z_][A-Za-z0-9_]*\)|%[A-Za-z_][A-Za-z0-9_]*%")
"""How others write a variable."""


def doubt_text(tree: Tree) -> None:
    """Refuse text in typographic quotes; warn of what looks like a variable and is none.

    To be asked before secrets are read: what is in them is nobody's mistake here.
    """
    for path, text in _texts(tree.data, ()):
        if path in tree.origins:
            continue
        if path in tree.plain and text[:1] in _QUOTES:
            hint = "write straight quotes, \" or '; around this text as well if it is meant so"
            tree.complain(path, "this quote is a part of the text: YAML knows straight ones only", hint)
        elif _OTHERS.fullmatch(text):
            tree.warn(path, "this is taken as it is, and no variable", 'write "${NAME}" for a variable')


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*path, key))
