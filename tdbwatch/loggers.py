"""Loggers of the connector and the embedded node: what others wrote comes into no line as it is.

Node names, errors, events and scopes come from the other side of a socket. A program that uses the connector
may have any handler on its loggers, so the texts are made presentable before a handler sees them.
"""

import logging
from typing import Any, Final

from tdbwatch.redaction import presentable

_SAFE: Final = (bool, int, float, type(None))


def get_logger(name: str) -> logging.Logger:
    """The logger of this name; the arguments of its lines are printable, without secrets, and cut."""
    logger = logging.getLogger(name)
    if _presentable not in logger.filters:
        logger.addFilter(_presentable)
    return logger


def is_worth_saying(count: int) -> bool:
    """Whether this repetition of something should be said: the first, second, fourth, eighth, ... one."""
    return count & (count - 1) == 0


def _presentable(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_shown, record.args))
    return True


def _shown(value: Any) -> Any:
    return value if type(value) in _SAFE else presentable(str(value))
