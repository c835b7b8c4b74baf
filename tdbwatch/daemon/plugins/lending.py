"""Functions and filters of plugins: found, checked, and called so that none holds up what asks it."""

import inspect
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any, Final, TypeVar

import structlog

from tdbwatch.daemon.expressions import is_taken
from tdbwatch.daemon.expressions.functions import Function
from tdbwatch.daemon.plugins.registry import Resting
from tdbwatch.plugin.template import is_filter

DEADLINE: Final = 1.0
"""Seconds that a call may take: so long the daemon is held up, once."""
SLOW: Final = 0.1
"""Seconds from which on a call is slow. A machine that is busy makes one now and then."""
ALLOWED: Final = 0.5
"""Seconds that slow calls may take in a row; then the function rests."""
RESTS: Final = 20
"""Seconds in which one second of slow calls is forgiven: they take a twentieth of the time, in the end."""
MOST: Final = 100
"""Functions, and filters, of one plugin."""

_T = TypeVar("_T")
_log: Final = structlog.get_logger("tdbwatch.plugins")


class LentError(ValueError):
    """A plugin's function has no value: it failed, or is not called for now."""


class Lent:
    """Calls a plugin's function in a thread of its own: what hangs there does not hang here.

    Raises (when called):
        LentError: it raised something, took too long, or is not called for a while because it did.
    """

    def __init__(self, plugin: str, kind: str, name: str, function: Callable[..., Any]) -> None:
        self.plugin = plugin
        self._kind = kind
        self._name = name
        self._what = f"{kind} {name} of plugin {plugin}"
        self._function = function
        self._calls: queue.SimpleQueue[tuple[futures.Future[Any], tuple[Any, ...], dict[str, Any]]] | None
        self._calls = None
        self._stuck: futures.Future[Any] | None = None
        self._stuck_at = 0.0
        self._forgiven_at = 0.0
        """When all slow calls so far are."""
        self._lock = threading.Lock()

    @property
    def resting(self) -> Resting | None:
        """Why it is not called now; None: it is."""
        now = time.monotonic()
        if self._is_stuck:
            return Resting(self.plugin, self._kind, self._name, "stuck", now - self._stuck_at)
        if (rests := self._rests(now)) > 0:
            return Resting(self.plugin, self._kind, self._name, "slow", rests)
        return None

    @property
    def _is_stuck(self) -> bool:
        return self._stuck is not None and not self._stuck.done()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        if self._is_stuck:
            raise LentError(f"{self._what} has not come back from an earlier call")
        if self._rests(began) > 0:
            raise LentError(f"{self._what} was slow, and is not called for a while")
        future: futures.Future[Any] = futures.Future()
        self._queue().put((future, args, kwargs))
        try:
            return future.result(DEADLINE)
        except futures.TimeoutError:
            if future.done():  # it raised a TimeoutError of its own
                raise self._failed(future.exception()) from None
            self._stuck_at, self._stuck = began, future
            _log.error("plugin.function_stuck", plugin=self.plugin, function=self._what, seconds=DEADLINE)
            raise LentError(f"{self._what} did not come back within {DEADLINE:g} s") from None
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            raise self._failed(error) from None
        finally:
            self._took(time.monotonic() - began)

    def _failed(self, error: BaseException | None) -> LentError:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return LentError(f"{self._what}: {said}")

    def _rests(self, now: float) -> float:
        """For how many seconds it is not called; 0 or less: it may be."""
        return self._forgiven_at - now - RESTS * ALLOWED

    def _took(self, seconds: float) -> None:
        if seconds < SLOW:
            return
        now = time.monotonic()
        self._forgiven_at = max(self._forgiven_at, now) + RESTS * seconds
        if (rests := self._rests(now)) > 0:
            _log.warning(
                "plugin.function_slow",
                plugin=self.plugin,
                function=self._what,
                seconds=round(seconds, 3),
                rests=round(rests, 1),
            )

    def _queue(self) -> "queue.SimpleQueue[tuple[futures.Future[Any], tuple[Any, ...], dict[str, Any]]]":
        with self._lock:
            if self._calls is None:
                self._calls = queue.SimpleQueue()
                threading.Thread(target=self._run, name=f"tdbwatch {self._what}", daemon=True).start()
            return self._calls

    def _run(self) -> None:
        assert self._calls is not None
        while True:
            future, args, kwargs = self._calls.get()
            try:
                future.set_result(self._function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the caller's to judge
                future.set_exception(error)


def functions_of(
    plugin: str, found: Any, taken: Mapping[str, Function], faults: list[BaseException]
) -> dict[str, Function]:
    """The functions for expressions that a plugin's hook gave, by name.

    Args:
        taken: those of other plugins.
        faults: what is wrong with those that cannot be one is added here.

    Raises:
        TypeError: what the hook gave is nothing that has functions.
    """

    def made(name: str, function: Callable[..., Any]) -> Function:
        if is_taken(name):
            raise TypeError(f"{name} means something in every expression already; give it another name")
        if (other := taken.get(name)) is not None:
            raise TypeError(f"plugin {_owner(other.call)} adds a function {name} already; that one counts")
        return Function.of(name, function, Lent(plugin, "function", name, _plain(function)))

    return _each("tdbwatch_functions", found, made, faults)


def filters_of(
    plugin: str, found: Any, taken: Mapping[str, Callable[..., Any]], faults: list[BaseException]
) -> dict[str, Lent]:
    """The filters for templates, likewise."""

    def made(name: str, function: Callable[..., Any]) -> Lent:
        if is_filter(name):
            raise TypeError(f"there is a filter {name} in every template already; give it another name")
        if (other := taken.get(name)) is not None:
            raise TypeError(f"plugin {_owner(other)} adds a filter {name} already; that one counts")
        try:
            inspect.signature(function).bind("")
        except (TypeError, ValueError) as error:
            raise TypeError(f"filter {name} must take one argument, the value ({error})") from None
        return Lent(plugin, "filter", name, function)

    return _each("tdbwatch_filters", found, made, faults)


def _each(
    hook: str, found: Any, made: Callable[[str, Callable[..., Any]], _T], faults: list[BaseException]
) -> dict[str, _T]:
    if not isinstance(found, Mapping):
        raise TypeError(f"{hook} gave {type(found).__name__}; it must give a mapping of names to functions")
    if len(found) > MOST:
        raise TypeError(f"{hook} gave {len(found)} functions; a plugin may have {MOST}")
    good = dict[str, _T]()
    for name, function in found.items():
        try:
            _check(name, function)
            good[name] = made(name, function)
        except TypeError as error:  # the others count all the same
            faults.append(error)
    return good


def _check(name: object, function: object) -> None:
    if not (isinstance(name, str) and name.isidentifier() and name.isascii()):
        raise TypeError(f"{name!r} cannot be the name of a function: use letters, digits and _")
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is no plain function; it must return its value, and cannot be async")


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """CEL gives bytes as a bytearray."""

    def call(*args: Any) -> Any:
        return function(*(bytes(one) if isinstance(one, bytearray) else one for one in args))

    return call


def _owner(call: Callable[..., Any]) -> str:
    return call.plugin if isinstance(call, Lent) else "?"
