"""JSON whose strings are templates: what an event says stays within its string, whatever it is."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from tdbwatch.plugin.template import SAMPLE, Template, has_tag
from tdbwatch.plugin.template_text import TemplateError

_ONE_VALUE: Final = re.compile(r"\s*\{\{[-+]?((?:(?!\{\{|\}\}|\{%|\{#).)*?)[-+]?\}\}\s*", re.DOTALL)


class JsonTemplate(Template):
    """A template that makes JSON of plain data.

    A string that is nothing but one `{{ ... }}` becomes the value itself: a number, a list, a mapping, null.

    Args:
        value: what JSON has: mappings, lists, text, numbers, true, false, null.

    Raises:
        TemplateError: one of the strings is wrong; the message says which, and where in it.
    """

    def __init__(self, value: Any) -> None:
        for path, text in _strings(value, ""):
            try:
                Template(text)
            except TemplateError as error:
                raise error.at(path) from None
        super().__init__(_source_of(value))


def check_json(template: Template) -> Template:
    """Refuse a text that makes no JSON of an event.

    Raises:
        TemplateError: it makes none.
    """
    try:
        json.loads(template.render(SAMPLE))
    except ValueError as error:
        remedy = 'values bring their own quotes: {"text": {{ room }}}; or write the body as a YAML mapping'
        raise TemplateError(f"this makes no JSON ({error}); {remedy}") from None
    return template


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string, with its path.

    Raises:
        TemplateError: a key is a template.
    """
    if isinstance(value, str):
        yield path.lstrip("."), value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if has_tag(str(key)):
                raise TemplateError(
                    f"{path}.{key}".lstrip(".") + ": a key cannot be a template, only a value"
                )
            yield from _strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{index}]")


def _source_of(value: Any) -> str:
    """One template for all of it: rendering it is one call."""
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{json.dumps(str(key))}: {_source_of(inner)}" for key, inner in value.items())
            + " }"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(_source_of, value)) + "]"
    if not isinstance(value, str) or not has_tag(value):
        return json.dumps(value)
    if alone := _ONE_VALUE.fullmatch(value):
        return f"{{{{ ({alone[1]})|tojson }}}}"
    return f"{{% filter tojson %}}{value}{{% endfilter %}}"
