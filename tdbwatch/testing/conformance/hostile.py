"""Events that nobody means to emit, and that come all the same: anyone may emit anything into a room."""

from typing import Any, Final

from msgspec.structs import replace

from tdbwatch.plugin import Event, Kind
from tdbwatch.testing.sinks import make_event

_NAMES: Final = "../../etc/passwd\0\r\nX-Evil: 1\u202e\N{PILE OF POO}'\";$(id){{ 7 * 7 }}"


def empty() -> Event:
    """Neither a name nor arguments."""
    return make_event("alerts", "", [])


def huge() -> Event:
    """A text of nearly a megabyte, and ten thousand small values."""
    return make_event("alerts", "huge", ["x" * 900_000, list(range(10_000))])


def deep() -> Event:
    """Lists within lists, deeper than Python's own stack."""
    return _packed(b"\x91" * 5_000 + b"\xc0")


def not_unicode() -> Event:
    """Text that is not UTF-8, as a value and as a key."""
    return _packed(b"\x92\xa4\xff\xfe\x80\x81\x81\xa2\xc3\x28\x01")


def numbers() -> Event:
    """Numbers that JSON does not have, or that databases do not."""
    return make_event("alerts", "numbers", [float("nan"), float("inf"), -float("inf"), 2**64 - 1, -(2**63)])


def binary() -> Event:
    """Bytes, and keys that are no text."""
    return make_event("alerts", "binary", [bytes(range(256)), {1: "one", b"\0": None}])


def names() -> Event:
    """Names that are paths, headers, code and templates."""
    return make_event(f"alerts {_NAMES}", f"event {_NAMES}", [_NAMES], arg_names=[f"argument {_NAMES}"])


def gap() -> Event:
    """A record of tdbwatch's own: it has details, and no arguments."""
    details: dict[str, Any] = {"since": None, "until": None, "reason": "the node was away", "dropped": 3}
    return make_event("alerts", "gap", kind=Kind.GAP, details=details)


def _packed(payload: bytes) -> Event:
    return replace(make_event("alerts", "odd"), payload=payload)
