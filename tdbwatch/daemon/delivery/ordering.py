"""What of a room a sink gets in order."""

from collections.abc import Callable
from operator import attrgetter

from tdbwatch.daemon.config.models.rules import text_of
from tdbwatch.daemon.delivery.bounds import is_too_large
from tdbwatch.daemon.expressions import Expression, Names
from tdbwatch.daemon.expressions.bounds import EvaluationError
from tdbwatch.plugin.event import Event

_NO_KEY = ""


def key_of(order: str) -> Callable[[Event], str] | None:
    """The key of an event; None: all of a room keep their order.

    Events for which the expression has no value, such as gaps, have one key together.

    Args:
        order: `room`, `none`, or a CEL expression.
    """
    if order == "room":
        return None
    if order == "none":
        return attrgetter("id")
    expression = Expression(order)

    def key(event: Event) -> str:
        if is_too_large(event):  # it would have to be decoded
            return _NO_KEY
        try:
            return text_of(expression.value_in(Names(event, event.fields)))
        except EvaluationError:
            return _NO_KEY

    return key
