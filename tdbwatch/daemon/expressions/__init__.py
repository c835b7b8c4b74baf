"""Expressions over an event, in CEL: compiled and checked when the configuration is read. Pure."""

from tdbwatch.daemon.expressions.expression import Expression, Names, Wanted
from tdbwatch.daemon.expressions.library import declare, is_taken
from tdbwatch.daemon.expressions.messages import ExpressionError
from tdbwatch.daemon.expressions.names import Fields

__all__ = ["Expression", "ExpressionError", "Fields", "Names", "Wanted", "declare", "is_taken"]
