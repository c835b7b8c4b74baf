"""What hands a trace on: a delivery is a span, and whoever the sink calls meanwhile may go on from there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_now: ContextVar[Mapping[str, str]] = ContextVar("tdbwatch_trace_headers", default=_NONE)


def trace_headers() -> Mapping[str, str]:
    """Headers for a request that a sink makes while it delivers: `traceparent`, and what else is configured.

    Without tracing there are none.
    """
    return _now.get()


@contextmanager
def handing_on(headers: Mapping[str, str]) -> Iterator[None]:
    """Within, and in tasks that begin there, `trace_headers` gives these."""
    token = _now.set(headers)
    try:
        yield
    finally:
        _now.reset(token)
