"""pydantic's verdict on a part of the tree."""

import json
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tdbwatch.daemon.config.checks.wording import SCALARS, Translator, existing, value_at
from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.config.text.yaml_text import resolve_scalar

Model = TypeVar("Model", bound=BaseModel)


def validate(
    tree: Tree,
    path: Path,
    data: dict[str, Any],
    model: type[Model],
    folder: FilePath,
    other_keys: tuple[str, ...] = (),
    *,
    is_whole: bool = True,
) -> Model | None:
    """The model made of `data`, which stands at `path`; None, with complaints in the tree, if it cannot be.

    Args:
        other_keys: keys of the same mapping that something else reads; they only serve suggestions.
        is_whole: whether what is missing is missed.
    """
    context = {"folder": folder}
    try:
        return model.model_validate_json(json.dumps(data), context=context)  # JSON's rules: no tuples in YAML
    except ValidationError as error:
        first = error
    except Exception as error:  # noqa: BLE001 - a plugin's own validator may raise anything
        message = f"these options cannot be checked: {type(error).__name__} in the plugin's own code"
        tree.complain(path, message, "see what the plugin says of its options, or tell its author")
        return None
    if _read_scalars(tree, path, data, first):
        return validate(tree, path, data, model, folder, other_keys, is_whole=is_whole)
    details = first.errors(include_input=False, include_url=False)
    if not is_whole:
        details = [detail for detail in details if detail["type"] != "missing"]
    Translator(tree, path, data, model, other_keys).translate(details)
    if details and not (
        tree.problems or tree.notes
    ):  # whatever an error was not put into words for, it must not pass in silence
        tree.complain(path, "is not accepted", "see docs/configuration.md for what it may be")
    return None


def _read_scalars(tree: Tree, base: Path, data: dict[str, Any], error: ValidationError) -> bool:
    """Read what the environment gave as YAML would, where the model wants a number, true or false."""
    changed = False
    for detail in error.errors(include_input=False, include_url=False):
        where = existing(data, detail["loc"])
        path = (*base, *where)
        value = value_at(data, where)
        if detail["type"] not in SCALARS or path not in tree.origins or tree.is_broken(path):
            continue
        resolved = resolve_scalar(value) if isinstance(value, str) else value
        if where and isinstance(resolved, int | float) and not isinstance(value, int | float):
            value_at(data, where[:-1])[where[-1]] = resolved
            changed = True
    return changed
