"""File names from rooms and events: whatever those are called, no path leaves its folder.

Emitters choose the names of events, and so they choose names of files. A harmless value stands for itself.
Any other is shown as far as it is harmless, with a hash behind a `~`, which no harmless value contains: so
two different values never make the same name.
"""

import hashlib
import re
import string
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

from tdbwatch.plugin import Event
from tdbwatch.plugin.event import Header

FIELDS: Final = ("room", "scope", "event", "kind", "date")
_KNOWN: Final = " ".join(f"{{{name}}}" for name in FIELDS)
ROTATED_STAMP: Final = r"\d{8}T\d{6}Z"
"""What rotation puts behind a file's name."""

_MAX_VALUE: Final = 60
_MAX_READABLE: Final = 35
_MAX_STATIC: Final = 220  # of the 255 that file systems take; rotation and compression add theirs
_HARMLESS: Final = re.compile(r"(?!\.)[\w.@+=,-]+")
_HARMFUL_CHARS: Final = re.compile(r"[^\w.@+=,-]")
_LIKE_ROTATED: Final = re.compile(ROTATED_STAMP)
_TAG: Final = re.compile(
    r"\{\{\s*(room|scope|event|kind|date|time|id|args|data|details|fields|record)\b.*?\}\}"
)
_EMPTY: Final = "~none"
_MAX_CACHED: Final = 4096
_DAY_US: Final = 86_400_000_000


def safe_name(value: str) -> str:
    """`value` as a part of a file name: at most 60 bytes, no separator, never `.` or `..` or empty.

    Different values give different names.
    """
    if _HARMLESS.fullmatch(value) and not _LIKE_ROTATED.search(value) and len(value.encode()) <= _MAX_VALUE:
        return value
    if not value:
        return _EMPTY
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    readable = _HARMFUL_CHARS.sub("_", value).lstrip(".")
    return f"{readable.encode()[:_MAX_READABLE].decode(errors='ignore')}~{digest}"


def safe_scope(scope: str) -> str:
    """A scope as a part of a file name: `//stuff` is `stuff`; any other form keeps a name of its own."""
    if scope.startswith("//"):
        return safe_name(scope[2:])
    return safe_name(f"/{scope}")  # the slash makes it harmful, so it cannot be that of `//stuff`


class PathTemplate:
    """A path with fields, such as `/var/log/tdbwatch/{room}/{date}.jsonl`.

    Raises:
        ValueError: an unknown field, or a template that cannot name a file.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._pieces = [(literal, field) for literal, field, *_ in self._parse(text)]
        except ValueError as error:
            raise ValueError(f"path {text!r}: {error}") from None
        self.fields = frozenset(field for _, field in self._pieces if field)
        self.fixed = None if self.fields else self._fill({})
        """The path, where it is the same for all events."""
        self._dated = "date" in self.fields
        self._key_of = attrgetter("kind", *(self.fields - {"kind", "date"}))
        self._cache: dict[Any, str] = {}

    def render(self, event: Event | Header) -> str:
        """The path of this event's file."""
        if self.fixed is not None:
            return self.fixed
        key = self._key_of(event), event.received_us // _DAY_US if self._dated else 0
        path = self._cache.get(key)
        if path is None:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            path = self._cache[key] = self._fill({field: self._raw(field, event) for field in self.fields})
        return path

    def _fill(self, values: dict[str, str]) -> str:
        parts: list[str] = []
        for literal, field in self._pieces:
            parts.append(literal)
            if field:
                parts.append(safe_scope(values[field]) if field == "scope" else safe_name(values[field]))
        return "".join(parts)

    @staticmethod
    def _raw(field: str, event: Event | Header) -> str:
        if field == "date":
            return _date(event.received_us // _DAY_US)
        return str(getattr(event, field))

    @staticmethod
    def _parse(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
        if "\0" in text:
            raise ValueError("it holds a NUL byte")
        if tag := _TAG.search(text):
            known = f"write {{{tag[1]}}}" if tag[1] in FIELDS else f"known are {_KNOWN}"
            raise ValueError(f"{tag[0]} is of templates, and this is none; {known}")
        pieces = list(string.Formatter().parse(text))
        for _, field, spec, conversion in pieces:
            if field is None:
                continue
            if field not in FIELDS or spec or conversion:
                raise ValueError(f"{{{field}}} is not a field; known are {_KNOWN}")
        _check_components("".join(lit + ("\0" if field is not None else "") for lit, field, *_ in pieces))
        return pieces


def _check_components(shape: str) -> None:
    """Refuse what cannot name a file; `\\0` stands for a field in `shape`."""
    components = shape.split("/")
    if components[-1] in ("", ".", ".."):
        raise ValueError("it names a folder, not a file; end it with a file name such as {room}.jsonl")
    for component in components:
        if len(component.encode()) + component.count("\0") * _MAX_VALUE > _MAX_STATIC:
            raise ValueError(
                "a name in it could become longer than file systems take; use fewer fields in it"
            )


def _date(day: int) -> str:
    """The date of a day since 1970, in UTC."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
