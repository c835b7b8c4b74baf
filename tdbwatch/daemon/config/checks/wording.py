"""pydantic's errors in the words of people who write YAML."""

import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from tdbwatch.daemon.config.checks.keys import fields_at, known_keys, owners
from tdbwatch.daemon.config.checks.units import in_unit_of
from tdbwatch.daemon.config.models.fields import may_be_unlimited
from tdbwatch.daemon.config.problems import Path, show_key, suggestion
from tdbwatch.daemon.config.secrets.secret_keys import secret_fields
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.expressions import ExpressionError
from tdbwatch.plugin import OptionError
from tdbwatch.plugin.template_text import TemplateError

_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "dataclass_type": "a mapping (key: value)",
    "path_type": "a path",
    "none_required": "empty",
}
_LIMITS: Final = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "finite_number": ("a finite number", ""),
}
SCALARS: Final = frozenset({"int_type", "float_type", "bool_type"})
_YES_NO: Final = frozenset({"yes", "no", "on", "off"})


def value_at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def existing(data: Any, loc: tuple[int | str, ...]) -> Path:
    """The part of pydantic's location that is in the data; the rest names parts of types."""
    path: list[str | int] = []
    for part in loc:
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
            path.append(part)
    return tuple(path)


class Translator:
    """Puts the errors of one model, made of `data` at the path `base`, into the tree as complaints."""

    def __init__(
        self,
        tree: Tree,
        base: Path,
        data: dict[str, Any],
        model: type[BaseModel],
        other_keys: tuple[str, ...],
    ) -> None:
        self._tree = tree
        self._base = base
        self._data = data
        self._model = model
        self._other_keys = other_keys

    def translate(self, errors: Iterable[Any]) -> None:
        """Complain of every error; several of one value, as alternatives give, become one."""
        by_path: dict[Path, list[Any]] = {}
        for detail in errors:
            loc = detail["loc"]
            missing = detail["type"] == "missing"
            where = (*existing(self._data, loc[:-1]), loc[-1]) if missing else existing(self._data, loc)
            by_path.setdefault(where, []).append(detail)
        for where, details in _without_alternatives(by_path).items():
            path = (*self._base, *where)
            if details[0]["type"] == "extra_forbidden":
                self._tree.broken.discard(path)  # whatever is wrong with its value: there is no such key
            if not self._tree.is_broken(path) and not self._is_misleading(where, details[0]):
                self._complain(path, where, details)

    def _is_misleading(self, where: Path, detail: Any) -> bool:
        """Whether pydantic calls a list too short because it did not count the items that have errors."""
        value = value_at(self._data, where[:-1] if detail["type"] == "missing" else where)
        short = detail["type"] == "too_short" and isinstance(value, list)
        return short and len(value) >= detail["ctx"]["min_length"]

    def _complain(self, path: Path, where: Path, details: list[Any]) -> None:
        detail = details[0]
        if detail["type"] == "extra_forbidden":
            self._unknown_key(path, where)
        elif detail["type"] == "missing":
            self._missing(path, where)
        elif all(item["type"] in _WANTED or item["type"] in _CHOICES for item in details):
            self._wrong_type(path, where, details)
        else:
            message, hint = self._judge(path, detail)
            if self._may_be_unlimited(where) and "unlimited" not in hint:
                hint = f"{hint}, or unlimited" if hint else "or write unlimited"
            cause = detail.get("ctx", {}).get("error")
            known = isinstance(cause, ExpressionError) and not self._tree.is_from_environment(path)
            inside = (cause.line, cause.column) if known else None
            self._tree.complain(path, message, hint, inside=inside)

    def _may_be_unlimited(self, where: Path) -> bool:
        return any(map(may_be_unlimited, fields_at(self._model, where)))

    def _unknown_key(self, path: Path, where: Path) -> None:
        here = list(owners(self._model, where[:-1]))
        key = str(where[-1])
        known = [name for owner in here for name in known_keys(owner)]
        known += self._other_keys if len(where) == 1 else ()
        self._tree.unknown.add(path)
        self._tree.complain(path, "unknown key", suggestion(key, known, "the keys here are"), at_key=True)

    def _missing(self, path: Path, where: Path) -> None:
        key = str(where[-1])
        secret = any(key in secret_fields(owner) for owner in owners(self._model, where[:-1]))
        others = f", {key}_file or {key}_credential" if secret else ""
        self._tree.complain(path, "is missing", f"add {show_key(key)}{others}", at_key=True)

    def _wrong_type(self, path: Path, where: Path, details: list[Any]) -> None:
        value = value_at(self._data, where)
        choices = [word for item in details for word in _choices(item)]
        choices += ["unlimited"] if self._may_be_unlimited(where) else []
        wanted = [_WANTED[item["type"]] for item in details if item["type"] in _WANTED]
        listed = [f"one of {', '.join(choices)}"] if len(choices) > 1 else choices
        message = f"must be {' or '.join(dict.fromkeys(listed + wanted))}"
        if wanted:
            message += f", not {kind_of(value)}"
        self._tree.complain(path, message, self._remedy(path, value, choices, details))

    def _remedy(self, path: Path, value: Any, choices: list[str], details: list[Any]) -> str:
        kinds = {item["type"] for item in details}
        if isinstance(value, str) and not self._tree.is_tainted(path):
            near = suggestion(value, choices, "").partition("?")
            if near[1]:
                return "".join(near[:2])
            if "bool_type" in kinds and value.lower() in _YES_NO:
                return f"write {'true' if value.lower() in {'yes', 'on'} else 'false'}"
        if kinds & {"list_type", "tuple_type"} and not isinstance(value, dict | None):
            return "write [value, ...], or one `- value` a line"
        if "string_type" in kinds and isinstance(value, int | float):
            return "put it in quotes"
        quoted = isinstance(value, str) and path not in self._tree.plain and path not in self._tree.origins
        return "remove the quotes" if kinds & SCALARS and quoted else ""

    def _judge(self, path: Path, detail: Any) -> tuple[str, str]:
        context = detail.get("ctx", {})
        if isinstance(cause := context.get("error"), OptionError):
            return cause.message, cause.remedy
        if detail["type"] in _LIMITS:
            words, key = _LIMITS[detail["type"]]
            limit = f" {in_unit_of(self._tree.get(path), context[key])}" if key else ""
            return f"must be {words}{limit}", ""
        if detail["type"] in {"too_short", "string_too_short"} and context.get("min_length") == 1:
            return "must not be empty", ""
        if self._tree.is_tainted(path) and not self._is_about_a_written_name(path, cause):
            what = "is no template" if isinstance(cause, TemplateError) else "is not accepted here"
            return (
                f"{self._tree.origins.get(path, 'a value')} {what}",
                "the reason is not shown, since it may repeat a part of it, and that may be a secret",
            )
        return _said(detail), _hint_of(cause)

    def _is_about_a_written_name(self, path: Path, cause: object) -> bool:
        """Whether all that a complaint repeats of a value is a name that its author wrote."""
        name = cause.unknown if isinstance(cause, TemplateError | ExpressionError) else ""
        return name != "" and self._tree.is_written(path, name)


def _hint_of(cause: object) -> str:
    if isinstance(cause, ExpressionError):
        return cause.hint or "see docs/routes.md"
    if isinstance(cause, TemplateError) and ";" not in str(cause):  # else it says so itself
        return "docs/templates.md shows how templates are written"
    return ""


def _without_alternatives(by_path: dict[Path, list[Any]]) -> dict[Path, list[Any]]:
    """Without wrong types of values in which an alternative type finds less wrong."""
    return {
        where: details
        for where, details in by_path.items()
        if any(item["type"] not in _WANTED for item in details)
        or not any(len(other) > len(where) and other[: len(where)] == where for other in by_path)
    }


def _said(detail: Any) -> str:
    """What whoever wrote the check says, as far as pydantic's own words suit people who write YAML."""
    cause = detail.get("ctx", {}).get("error")
    return str(cause) if cause is not None else re.sub(r"^Input should (be )?", r"must be ", detail["msg"])


_CHOICES: Final = frozenset({"literal_error", "enum"})


def _choices(detail: Any) -> list[str]:
    return (
        re.findall(r"'([^']*)'", detail.get("ctx", {}).get("expected", ""))
        if detail["type"] in _CHOICES
        else []
    )


_KINDS: Final = (
    (type(None), "empty"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number with a fraction"),
    (str, "text"),
    (list, "a list"),
)


def kind_of(value: Any) -> str:
    """What a value is, in the words of people who write YAML."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a mapping")
