"""What a sink must look like: found out when it is declared, with the author's own line in the traceback."""

import inspect
import re
from collections.abc import Callable
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo

from tdbwatch.plugin.options import Duration, Options

RESERVED: Final = frozenset({"type", "retry", "batch"})
"""Keys that mean something else to tdbwatch; others that all sinks have, such as `timeout`, are shared."""
_DURATION: Final = get_args(Duration)[1]
"""What tells that a field is a duration."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_name(name: object) -> None:
    """Refuse what users could not write as `type:`.

    Raises:
        TypeError: it is no text, as where `@sink` has no parentheses.
        ValueError: it is no name.
    """
    if not isinstance(name, str):
        raise TypeError('the sink has no name; write @sink("NAME") above it, not @sink')
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a sink type: use letters, digits, _ . and -")


def check_options(options: object) -> None:
    """Refuse a model that tdbwatch cannot check, or whose keys would mean two things.

    Raises:
        TypeError: it is no subclass of `Options`, or a default is none of its values.
        ValueError: one of its keys is tdbwatch's own.
    """
    if not (inspect.isclass(options) and issubclass(options, Options)):
        shown = getattr(options, "__name__", type(options).__name__)
        raise TypeError(f"the options, {shown}, are no subclass of tdbwatch.plugin.Options")
    taken = sorted(
        key for name, field in options.model_fields.items() if (key := field.alias or name) in RESERVED
    )
    if taken:
        raise ValueError(f"{options.__name__}: every sink has a key {taken[0]!r} already; rename the option")
    for name, field in options.model_fields.items():
        if isinstance(field.default, str) and _takes_no_text(field, options):
            rule = "defaults are values, not text as users write it"
            wanted = getattr(field.annotation, "__name__", "")
            raise TypeError(f"{options.__name__}: the default of {name} is text, and no {wanted}; {rule}")
    timeout = options.model_fields.get("timeout")
    if timeout is not None and _DURATION not in timeout.metadata:
        shared = "every sink has a timeout, and this one is the same"
        raise ValueError(f"{options.__name__}: {shared}; annotate it as Duration, or rename the option")


def _takes_no_text(field: FieldInfo, options: type[Options]) -> bool:
    """Whether a default that is text would stay as it is, though the option is of another class."""
    checked = field.validate_default or options.model_config.get("validate_default")
    kind = field.annotation
    return not checked and inspect.isclass(kind) and not isinstance(field.default, kind)


def check_batch_count(count: object) -> None:
    """Refuse what is no number of events.

    Raises:
        ValueError: it is none.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"batch_count is {count!r}; it must be a whole number of at least 1")


def check_class(sink: type[Any], base: type[Any]) -> None:
    """Refuse a subclass of `base`, which is `Sink`, that cannot be called as one.

    Raises:
        TypeError: says which method, and what is wrong with it.
    """
    if sink.deliver is base.deliver:
        raise TypeError(f"{sink.__name__} has no deliver; write async def deliver(self, batch)")
    for name, arguments in (("deliver", ("self", "batch")), ("open", ("self",)), ("close", ("self",))):
        method, wanted = getattr(sink, name), f"async def {name}({', '.join(arguments)})"
        plain = inspect.unwrap(method)
        if inspect.isfunction(plain) and not inspect.iscoroutinefunction(plain):
            raise TypeError(f"{sink.__name__}.{name} is not async; write {wanted}")
        _check_call(method, arguments, f"{sink.__name__}.{name}", wanted)
    init = ("self", "options", "context")
    _check_call(sink.__init__, init, f"{sink.__name__}.__init__", f"def __init__({', '.join(init)})")


def check_function(function: Callable[..., Any], *, with_options: bool) -> None:
    """Refuse what cannot be called with an event, and with its options if it has some.

    Raises:
        TypeError: says what is wrong with it.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"{name} is no function and no subclass of tdbwatch.plugin.Sink")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is a generator (there is a yield in it), so nothing of it would run")
    arguments = ("event", "options") if with_options else ("event",)
    context = ("context",) if takes_context(function) else ()
    _check_call(function, arguments, name, f"def {name}({', '.join((*arguments, *context))})", context)


def takes_context(function: Callable[..., Any]) -> bool:
    """Whether it has an argument `context`."""
    try:
        return "context" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # it does not say; most of what is written in C
        return False


def _check_call(
    function: Callable[..., Any],
    arguments: tuple[str, ...],
    name: str,
    wanted: str,
    by_name: tuple[str, ...] = (),
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # it does not say; most of what is written in C
        return
    try:
        signature.bind(*arguments, **dict.fromkeys(by_name))
    except TypeError as error:
        raise TypeError(f"{name} takes other arguments than it gets ({error}); write {wanted}") from None
