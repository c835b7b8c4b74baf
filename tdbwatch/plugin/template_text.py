"""What can be told of a template's text without an event: names that nobody knows. Pure."""

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import minijinja

_TEXT: Final = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_UNREAD: Final = re.compile(r"\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}", re.DOTALL)
_TAG: Final = re.compile(
    rf"\{{\{{(?P<value>(?:{_TEXT}|(?!\}}\}}).)*)\}}\}}|\{{%(?P<block>(?:{_TEXT}|(?!%\}}).)*)%\}}", re.DOTALL
)
_TEXTS: Final = re.compile(_TEXT, re.DOTALL)
_FILTER: Final = re.compile(r"\|\s*([A-Za-z_]\w*)|^\s*[-+]?\s*filter\s+([A-Za-z_]\w*)")
_SLICE: Final = re.compile(r"\[[^\[\]'\"{}%]*:[^\[\]'\"{}%]*\]")
_OTHER_TEMPLATES: Final = re.compile(r"^\s*[-+]?\s*(include|import|from|extends|block)\b")


class TemplateError(ValueError):
    """A template that is wrong; or one that cannot be rendered for an event, and never will be.

    Attributes:
        unknown: the name that is not there, or that a template may not use; empty where it is about no name.
            An author learns it also where the rest of the template may be a secret.
    """

    def __init__(self, message: str, unknown: str = "") -> None:
        super().__init__(message)
        self.unknown = unknown

    def at(self, where: str) -> "TemplateError":
        """The same of a template that is a part of something."""
        return TemplateError(f"{where}: {self}", self.unknown)


def check_text(
    source: str,
    needs: Collection[str],
    names: Sequence[str],
    environment: minijinja.Environment,
    filters: Collection[str] = (),
) -> None:
    """Refuse a template that names what is not there.

    Raises:
        TemplateError: says what, and what is there.
    """
    for name in sorted(set(needs) - set(names)):
        raise TemplateError(f"there is no {name!r} here; {_remedy(name, names)}", name)
    for tag in _tags(source):
        if found := _OTHER_TEMPLATES.match(tag):
            raise TemplateError(f"{found[1]} does not work here: a template stands alone", found[1])
        for match in _FILTER.finditer(tag):
            name = match[1] or match[2]
            if name not in filters and not has_filter(environment, name):
                close = get_close_matches(name, filters, 1)
                hint = f"did you mean {close[0]}?" if close else "docs/templates.md lists them"
                raise TemplateError(f"there is no filter {name!r}; {hint}", name)


def names_in(source: str, environment: minijinja.Environment) -> set[str]:
    """The names that a template needs.

    minijinja finds none in what is sliced, such as `(a ~ b)[:9]`, so it is asked without the slices, too.
    """
    found = environment.undeclared_variables_in_str(source)
    try:
        return found | environment.undeclared_variables_in_str(_SLICE.sub("", source))
    except minijinja.TemplateError:  # what looked like a slice was none
        return found


def _remedy(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"


def _tags(source: str) -> Iterator[str]:
    """What stands within the tags, with the texts in it emptied."""
    for match in _TAG.finditer(_UNREAD.sub("", source)):
        yield _TEXTS.sub("''", match["value"] or match["block"] or "")


def has_filter(environment: minijinja.Environment, name: str) -> bool:
    """Whether a filter of this name comes with the environment."""
    try:
        environment.eval_expr(f"''|{name}")
    except minijinja.TemplateError as error:
        return error.kind != "UnknownFilter"
    return True
