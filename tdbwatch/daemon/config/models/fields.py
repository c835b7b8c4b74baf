"""What the configuration's models are made of, beyond what `tdbwatch.plugin.options` has."""

import fnmatch
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from tdbwatch.client.addresses import Address, parse_address
from tdbwatch.daemon.config.problems import RefusedError
from tdbwatch.daemon.expressions import Expression, Wanted
from tdbwatch.plugin import Duration, Options
from tdbwatch.plugin.options import beside_configuration
from tdbwatch.wire.scopes import collection_of, short

_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SINK_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def _node(value: object) -> Address:
    if not isinstance(value, str):
        raise RefusedError(
            "must be a node's address", "write for instance node01, node01:9201 or wss://node01:9270"
        )
    return parse_address(value)


def _scope(value: str) -> str:
    if collection_of(value) is None:
        raise RefusedError("this is not the scope of a collection", "rooms live in collections; write //NAME")
    return short(value)


def _field_name(value: str) -> str:
    if not _FIELD_NAME.fullmatch(value):
        hint = "use letters, digits and _, so that expressions can say fields.NAME"
        raise RefusedError("this cannot be a field's name", hint)
    return value


def _expression(value: object, wanted: Wanted) -> Expression:
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str):
        raise RefusedError("must be an expression, as text", "put it in quotes")
    return Expression(value, wanted)


def _order(value: object) -> str:
    if value is None or value is False:
        raise RefusedError("is empty", "write room, none, or an expression such as args[0].host")
    if isinstance(value, str) and value in {"room", "none"}:
        return str(value)
    return _expression(value, "value").source


def _glob(value: str) -> str:
    if not value:
        raise RefusedError("a glob must not be empty", 'write "*" for everything')
    if len(value) > 500:
        raise RefusedError("a glob of more than 500 characters", "use a list of shorter ones")
    if "[" in _without_sets(value):
        raise RefusedError(
            "a [ that is never closed", "write [abc] for one of these characters, or [[] for a literal ["
        )
    return value


def _without_sets(glob: str) -> str:
    return re.sub(r"\[!?\]?[^\]]*\]", "", glob)


def scope_glob(glob: str) -> str:
    """A glob over scopes in the spelling that events have: `@collection:st*` becomes `//st*`."""
    match = re.match(r"@([a-z]*):|/([a-z]*)/", glob)
    kind = "" if match is None else match[1] or match[2] or ""
    return glob if match is None or not "collection".startswith(kind) else "//" + glob[match.end() :]


def compile_globs(globs: Sequence[str]) -> re.Pattern[str]:
    """One expression that matches what any of the globs does."""
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


def _listed(value: object) -> object:
    """One value is a list of one. A tuple, since strict models take no list once Python made it."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _port_and_host(value: object) -> object:
    host, colon, port = str(value).rpartition(":")
    plain = re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", host)
    if not colon or not plain or not re.fullmatch(r"[0-9]+", port):
        raise RefusedError("this is not host:port", 'write for instance "127.0.0.1:9280" or "[::1]:9280"')
    if len(port) > 5 or int(port) > 65535:
        raise RefusedError("the port is too high", "ports go up to 65535; 0 takes any free one")
    return value


def _unlimited(value: object) -> object:
    if value is None:
        raise RefusedError("is empty", "write a value, or unlimited")
    return None if value == "unlimited" else value


def may_be_unlimited(field: FieldInfo) -> bool:
    """Whether `unlimited` may be written instead of a value."""
    return any(isinstance(part, BeforeValidator) and part.func is _unlimited for part in field.metadata)


def no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a value that is listed twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise RefusedError(f"items {values.index(value) + 1} and {index + 1} are the same", "remove one")
    return values


def check_sink_name(value: str) -> str:
    """Refuse a name that could not stand in logs, metrics and file names."""
    if not _SINK_NAME.fullmatch(value):
        raise RefusedError(
            "a sink's name may hold letters, digits, _ . and -, at most 64 of them", "rename it"
        )
    return value


NodeAddress = Annotated[
    Address,
    PlainValidator(_node),
    WithJsonSchema({"type": "string", "examples": ["node01", "node01:9201", "wss://node01:9270"]}),
]
"""A node's address, as `tdbwatch.client.addresses.parse_address` reads it."""

Scope = Annotated[str, AfterValidator(_scope)]
"""A collection's scope, spelled `//name`."""

Text = Annotated[str, Field(min_length=1)]
PositiveDuration = Annotated[Duration, Field(gt=0)]
"""Seconds, more than none."""

FileName = Annotated[Path, AfterValidator(beside_configuration)]
"""A path; a relative one starts at the folder of the configuration file."""

Listed = BeforeValidator(_listed)
"""One value may be written for a list of one. The schema knows by `x-one`."""
ListenAddress = Annotated[str, BeforeValidator(_port_and_host)]
Glob = Annotated[str, AfterValidator(_glob)]
Globs = Annotated[tuple[Glob, ...], Listed, Field(min_length=1, json_schema_extra={"x-one": True})]
"""A glob or a list of globs: `*`, `?`, `[abc]`, `[!abc]`; upper and lower case differ."""

FieldName = Annotated[str, AfterValidator(_field_name)]
"""A field that routes set."""
Condition = Annotated[
    InstanceOf[Expression],
    BeforeValidator(partial(_expression, wanted="condition")),
    WithJsonSchema({"type": "string"}),
]
"""CEL that says true or false of an event."""
Value = Annotated[
    InstanceOf[Expression],
    BeforeValidator(partial(_expression, wanted="value")),
    WithJsonSchema({"type": "string"}),
]
"""CEL that makes a value of an event."""

Order = Annotated[str, BeforeValidator(_order), WithJsonSchema({"type": "string", "default": "room"})]
"""`room`, `none`, or CEL that makes a key of an event."""

UnlimitedDuration = Annotated[PositiveDuration | None, BeforeValidator(_unlimited)]
UnlimitedCount = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_unlimited),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}]}),
]


class Section(Options):
    """Base of the configuration's mappings."""

    model_config = ConfigDict(use_attribute_docstrings=True)
