"""Which methods of a class are handlers, and of which events."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

_MARK: Final = "__tdbwatch_event__"
_Handler = TypeVar("_Handler", bound=Callable[..., Any])

_known: Final[WeakKeyDictionary[type, dict[str, str]]] = WeakKeyDictionary()


def event(event: str) -> Callable[[_Handler], _Handler]:
    """Make a method of a `Room` the handler of an event; it gets the event's arguments."""

    def mark(handler: _Handler) -> _Handler:
        setattr(handler, _MARK, event)
        return handler

    return mark


def handlers_of(owner: object) -> dict[str, Callable[..., Any]]:
    """The handlers of an object by their events: those of its class, whatever it has under the same names.

    Of two handlers of one event the later one counts; those of base classes are the earlier ones.
    """
    cls = type(owner)
    if (names := _known.get(cls)) is None:
        names = _known[cls] = _handler_names(cls)
    return {event: _bound(_member(cls, name), owner) for event, name in names.items()}


def _handler_names(cls: type) -> dict[str, str]:
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            members.pop(name, None)  # so that the order is that of the definitions that count
            members[name] = member
    marked = {name: getattr(member, _MARK, None) for name, member in members.items()}
    return {event: name for name, event in marked.items() if isinstance(event, str)}


def _member(cls: type, name: str) -> Any:
    """As it was defined: `getattr` would hide what a `staticmethod` is."""
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


def _bound(member: Any, owner: object) -> Callable[..., Any]:
    if hasattr(member, "__get__"):
        bound: Callable[..., Any] = member.__get__(owner, type(owner))
        return bound
    return partial(member, owner)  # an object of a class with `__call__`
