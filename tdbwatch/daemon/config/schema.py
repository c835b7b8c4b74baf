"""The configuration as a JSON Schema (draft 7), which editors read for completion and mistakes. Pure.

It is made of the same models that check a configuration. It allows a little more than they do: what takes
more than one value to judge, such as which keys exclude each other, only they know.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.sinks import SinkSettings
from tdbwatch.daemon.config.offers import Offers
from tdbwatch.daemon.config.secrets.secret_keys import SUFFIXES
from tdbwatch.plugin import SinkType

Schema = dict[str, Any]

_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_FROM_ENVIRONMENT: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""What stands for a number, or true and false."""
_SECRET_ELSEWHERE: Final = {
    "type": "object",
    "properties": {suffix.lstrip("_"): {"type": "string"} for suffix in SUFFIXES},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_INCLUDE: Final = {
    "description": "More files of this configuration: their paths, or patterns such as conf.d/*.yaml.",
    "type": "array",
    "items": {"type": "string"},
    "examples": [["conf.d/*.yaml"]],
}
_NULL: Final = {"type": "null"}
_OWN_TYPES: Final = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}


def schema(sink_types: Mapping[str, SinkType]) -> Schema:
    """The schema of a configuration whose sinks are of these types."""
    made = _plain(Sections.model_json_schema(by_alias=True))
    definitions = made.pop("definitions")
    definitions["PluginsConfig"]["properties"]["options"] = _plugin_options(sink_types, definitions)
    for name, sink_type in sink_types.items():
        definitions |= {f"sink-{name}": _sink(sink_type, definitions)}
    properties = made["properties"]
    properties["rooms"]["items"] = {"anyOf": [{"type": "string"}, properties["rooms"]["items"]]}
    properties["sinks"] = _sinks(sink_types)
    properties["defaults"] = _defaults(sink_types, definitions)
    properties["include"] = _INCLUDE
    made["properties"] = {key: {"anyOf": [value, _NULL]} for key, value in properties.items()}
    for part in (made, *(definitions[name] for name in _section_names(properties))):
        part.pop("required", None)  # what is missing may stand in another file
    return {"$schema": _DRAFT, "title": "tdbwatch", **made, "definitions": definitions}


def _section_names(properties: Mapping[str, Schema]) -> Iterator[str]:
    """The definitions that sections are made of."""
    for value in properties.values():
        for one in (value, *value.get("anyOf", ())):
            if isinstance(reference := one.get("$ref"), str):
                yield reference.rpartition("/")[2]


def _plugin_options(sink_types: Mapping[str, SinkType], definitions: Schema) -> Schema:
    """By plugin, what its own model has."""
    by_plugin = {}
    for name, model in Offers.of(sink_types).plugin_options.items():
        made = by_plugin[name] = _plain(_of(model))
        for inner, definition in made.pop("definitions", {}).items():
            definitions.setdefault(inner, definition)
    return {
        "description": "By plugin, the options of those that have some of their own.",
        "type": "object",
        "properties": by_plugin,
        "additionalProperties": False,
    }


def _sinks(sink_types: Mapping[str, SinkType]) -> Schema:
    """Each sink by its type; plugins that are sinks by their hooks need none."""
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/definitions/sink-{name}"},
        }
        for name in sink_types
    ]
    any_sink = {
        "type": "object",
        "properties": {"type": {"enum": sorted(sink_types)}},
        "required": ["type"],
        "allOf": by_type,
    }
    hooks = {name: {"$ref": f"#/definitions/sink-{name}"} for name, made in sink_types.items() if made.hears}
    return {
        "description": "Where events go: a name for each sink, and its type.",
        "type": "object",
        "properties": hooks,
        "additionalProperties": any_sink,
    }


def _defaults(sink_types: Mapping[str, SinkType], definitions: Schema) -> Schema:
    """By type, what its sinks have; nothing is required."""
    by_type = {}
    for name in sink_types:
        made = {
            key: value
            for key, value in definitions[f"sink-{name}"].items()
            if key not in {"required", "allOf"}
        }
        made["properties"] = {key: value for key, value in made["properties"].items() if key != "type"}
        by_type[name] = made
    return {
        "description": "By type, what sinks have that do not say otherwise.",
        "type": "object",
        "properties": by_type,
        "additionalProperties": False,
    }


def _sink(sink_type: SinkType, definitions: Schema) -> Schema:
    """What all sinks have, and what this type has."""
    common, own = _plain(_of(SinkSettings)), _plain(_of(sink_type.options))
    for part in (common, own):
        for name, definition in part.pop("definitions", {}).items():
            definitions.setdefault(name, definition)
    made = {**own, "properties": {**common["properties"], **own.get("properties", {})}}
    made["properties"]["type"] = {"const": sink_type.name}
    made["required"] = sorted({*([] if sink_type.hears else ["type"]), *own.get("required", [])})
    if sink_type.summary:
        made["description"] = sink_type.summary
    return made


def _of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(by_alias=True)


def _plain(node: Any) -> Any:
    """In draft 7, with what users may write instead: secrets elsewhere, the environment, one for a list."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    made: Schema = {}
    for key, value in node.items():
        if key in {"$defs", "properties"}:
            made["definitions" if key == "$defs" else key] = {
                name: _plain(one) for name, one in value.items()
            }
        elif key != "title" and not (key == "default" and isinstance(value, str | list | dict | None)):
            made[key] = value if key in {"enum", "const", "examples"} else _plain(value)
    if isinstance(reference := made.get("$ref"), str):
        made["$ref"] = reference.replace("#/$defs/", "#/definitions/")
    if isinstance(made.get("default"), int | float) and not _fits(made):
        del made["default"]
    if "properties" in made:
        _add_secrets(made)
    return _widened(made)


def _fits(node: Schema) -> bool:
    """Whether the default is written as the value would be; a duration's is in seconds."""
    return isinstance(node["default"], _OWN_TYPES.get(node.get("type", ""), float))


def _add_secrets(node: Schema) -> None:
    """`token` may also be `token_file` or `token_credential`."""
    required = set(node.get("required", []))
    for key in [key for key, value in node["properties"].items() if any(_secrets(value))]:
        others = {f"{key}{suffix}": {"type": "string"} for suffix in SUFFIXES}
        node["properties"] |= others
        if key in required:
            required.discard(key)
            node.setdefault("allOf", []).append({"anyOf": [{"required": [one]} for one in (key, *others)]})
    if "required" in node:
        node["required"] = sorted(required)


def _secrets(node: Any) -> Iterator[Schema]:
    """A secret in this schema itself, not in a mapping or a list within."""
    if isinstance(node, dict):
        if node.get("writeOnly"):
            yield node
        for one in node.get("anyOf", ()):
            yield from _secrets(one)


def _widened(node: Schema) -> Schema:
    kind = node.get("type")
    said: Schema = {key: node[key] for key in ("description", "default") if key in node}
    rest = {key: value for key, value in node.items() if key not in said}
    if rest.get("writeOnly"):
        return {**said, "anyOf": [rest, _SECRET_ELSEWHERE]}
    if kind == "array" and rest.pop("x-one", False):
        return {**said, "anyOf": [rest["items"], rest]}
    if isinstance(kind, str) and kind in {"integer", "number", "boolean"}:
        return {**said, "anyOf": [rest, _FROM_ENVIRONMENT]}
    return node
