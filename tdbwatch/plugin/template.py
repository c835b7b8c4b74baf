"""Templates: text with places for what an event has, in Jinja's syntax.

They are sandboxed, and bounded in work and size, since events are made by others: a template sees plain
values, and what an event says never changes the shape of what it stands in.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import minijinja
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from tdbwatch.plugin.event import Event, format_time
from tdbwatch.plugin.jsonable import to_jsonable
from tdbwatch.plugin.template_text import TemplateError, check_text, has_filter, names_in
from tdbwatch.printable import printable, shortened

Escape = Literal["none", "json", "url"]
"""How values are written: as text, as JSON, or so that each stays one part of a URL's path or query."""

MOST_WORK: Final = 200_000
"""Steps of one rendering, as minijinja counts them."""
MOST_TEXT: Final = 4_000_000
"""Characters that one rendering may make."""
_TAGS: Final = ("{{", "{%", "{#")

_VALUES: Final[Mapping[str, Callable[[Event], Any]]] = {
    "event": lambda event: event.event,
    "room": lambda event: event.room,
    "scope": lambda event: event.scope,
    "kind": lambda event: str(event.kind),
    "id": lambda event: event.id,
    "time": lambda event: format_time(event.received_us),
    "args": lambda event: event.record().get("args", []),
    "data": lambda event: event.record().get("data", {}),
    "details": lambda event: to_jsonable(event.details),
    "fields": lambda event: event.fields,
    "record": lambda event: event.record(),
}
NAMES: Final = tuple(_VALUES)
"""What a template may name."""
_FUNCTIONS: Final = frozenset({"dict", "namespace", "range"})
_ABOUT_TEMPLATE: Final = frozenset(
    {"SyntaxError", "TemplateNotFound", "UnknownFilter", "UnknownFunction", "UnknownMethod", "UnknownTest"}
)
"""Kinds of errors that say nothing of the event."""
_PYTHONS: Final = (AttributeError, LookupError, TypeError, ValueError)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SHOWN: Final = 300


class Template:
    """A template, compiled. Also the type of an option that is one: users write text.

    A key that an event does not have is empty text; `{{ args[0].host | default("?") }}` says what else.

    Args:
        source: Jinja's syntax over `NAMES`; without a tag it is what it says.
        escape: how values are written.

    Raises:
        TemplateError: it is wrong; the message says where in it.
    """

    def __init__(self, source: str, escape: Escape = "none") -> None:
        self.source = source
        self.is_constant = not has_tag(source)
        self._environment = _environment(escape)
        try:
            self._environment.add_template("", source)
            self._needs = tuple(names_in(source, self._environment) - _FUNCTIONS)
            check_text(source, self._needs, NAMES, self._environment, _filters)
        except minijinja.TemplateError as error:
            raise _told(error) from None
        self._try()

    def __repr__(self) -> str:
        return "<Template>"  # there may be a secret in it

    def render(self, event: Event) -> str:
        """The text for this event.

        Raises:
            TemplateError: it needs more work or makes more text than it may, or does what cannot be done.
        """
        if self.is_constant:
            return self.source
        try:
            text = self._render(event)
        except minijinja.TemplateError as error:
            raise _told(error) from None
        except _PYTHONS as error:  # of a value's method, or a value that has no text
            raise TemplateError(printable(shortened(str(error), _SHOWN))) from None
        if len(text) > MOST_TEXT:
            raise TemplateError(f"it makes {len(text):,} characters of this event; {MOST_TEXT:,} are allowed")
        return text

    def render_line(self, event: Event) -> str:
        """As `render`, with a space for control characters: one header stays one header."""
        return _CONTROL.sub(" ", self.render(event))

    def _try(self) -> None:
        """Find what only rendering finds; what goes wrong with the sample may go right with an event."""
        try:
            self._render(SAMPLE)
        except minijinja.TemplateError as error:
            if error.kind in _ABOUT_TEMPLATE:
                raise _told(error) from None
        except _PYTHONS:
            pass

    def _render(self, event: Event) -> str:
        values = {name: _VALUES[name](event) for name in self._needs}
        return self._environment.render_template("", **values)

    @classmethod
    def _of_option(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError("must be text")  # noqa: TRY004 - pydantic's way
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            cls._of_option,
            core_schema.is_instance_schema(cls),
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda one: one.source),
        )


def has_tag(text: str) -> bool:
    """Whether a text is more than what it says."""
    return any(tag in text for tag in _TAGS)


def _environment(escape: Escape) -> minijinja.Environment:
    made = minijinja.Environment(
        undefined_behavior="chainable",
        fuel=MOST_WORK,
        debug=False,
        keep_trailing_newline=True,
        auto_escape_callback=lambda _: "json" if escape == "json" else None,
        finalizer=_quoted if escape == "url" else None,
    )
    for name, function in _filters.items():
        made.add_filter(name, function)
    return made


_filters: Final[dict[str, Callable[..., Any]]] = {}


def declare_filters(filters: Mapping[str, Callable[..., Any]]) -> None:
    """Let templates that are made from now on use these, and no others beside Jinja's own."""
    _filters.clear()
    _filters.update(filters)


def is_filter(name: str) -> bool:
    """Whether every template has a filter of this name."""
    return has_filter(minijinja.Environment(), name)


def _quoted(value: Any) -> str:
    text = "" if value is None else str(value)
    if text in {".", ".."}:
        raise ValueError(f"{text!r} as a part of a URL's path would lead elsewhere")
    return quote(text, safe="")


def _told(error: minijinja.TemplateError) -> TemplateError:
    """What minijinja says, in one line."""
    line = f"line {error.line}: " if (error.line or 1) > 1 else ""
    said = error.detail or error.message.partition(" (in ")[0]
    return TemplateError(printable(shortened(f"{line}{said}", _SHOWN)))


SAMPLE: Final = Event.create(args=[{}], arg_names=["one"])
