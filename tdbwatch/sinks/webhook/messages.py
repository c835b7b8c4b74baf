"""What is sent: one event, or a batch, in each of the formats."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import msgspec

from tdbwatch.plugin import Event, Kind
from tdbwatch.plugin.batch import json_lines
from tdbwatch.plugin.event import format_time

_encode: Final = msgspec.json.Encoder().encode
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What CloudEvents leaves as it is in a header (HTTP protocol binding 1.0, 3.1.3.2)."""

_NO_ATTRIBUTE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What CloudEvents allows in no attribute (1.0.2, 3.1: control characters, surrogates, noncharacters)."""


@dataclass(frozen=True, slots=True)
class Message:
    """The body of one request and the headers that belong to it.

    Attributes:
        url: where to, if that depends on the event.
    """

    id: str
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    url: str | None = None


def record(event: Event, source: str | None) -> Message:  # noqa: ARG001 - one signature for all formats
    """The record as it is in docs/records.md."""
    return Message(event.id, "application/json", event.json())


def standard(event: Event, source: str | None) -> Message:  # noqa: ARG001
    """As Standard Webhooks recommends: the type, the time, and the record as data."""
    head = _encode({"type": _type(event), "timestamp": format_time(event.received_us)})
    return Message(event.id, "application/json", head[:-1] + b',"data":' + event.json() + b"}")


def structured(event: Event, source: str | None) -> Message:
    """A CloudEvent in structured mode."""
    return Message(event.id, "application/cloudevents+json", _cloudevent(event, source))


def binary(event: Event, source: str | None) -> Message:
    """A CloudEvent in binary mode: its attributes are headers, its data is the body."""
    headers = {
        f"ce-{name}": quote(value, safe=_HEADER_SAFE) for name, value in _attributes(event, source).items()
    }
    return Message(event.id, "application/json", event.json(), headers)


def record_batch(batch: Sequence[Event], source: str | None) -> Message:  # noqa: ARG001
    """An array of records."""
    lines = json_lines(batch)
    first, last = (_decode_id(line).id for line in (lines[0], lines[-1]))  # so no event need be made
    return Message(_batch_id(first, last, len(lines)), "application/json", _array(lines))


def structured_batch(batch: Sequence[Event], source: str | None) -> Message:
    """A batch of CloudEvents."""
    body = _array([_cloudevent(event, source) for event in batch])
    batch_id = _batch_id(batch[0].id, batch[-1].id, len(batch))
    return Message(batch_id, "application/cloudevents-batch+json", body)


SINGLE: Final[dict[str, Callable[[Event, str | None], Message]]] = {
    "record": record,
    "standard": standard,
    "cloudevents": structured,
    "cloudevents-binary": binary,
}
BATCH: Final[dict[str, Callable[[Sequence[Event], str | None], Message]]] = {
    "batch": record_batch,
    "cloudevents-batch": structured_batch,
}


def _batch_id(first: str, last: str, count: int) -> str:
    """The id of a batch: the same whenever the same events are sent again together."""
    return first if count == 1 else f"{first}_{last}_{count}"


class _Identified(msgspec.Struct):
    """Of a record, its id."""

    id: str


_decode_id: Final = msgspec.json.Decoder(_Identified).decode


def _attributes(event: Event, source: str | None) -> dict[str, str]:
    """The attributes of a CloudEvent (CloudEvents 1.0.2, 3.1); none may be empty."""
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": source or f"tdbwatch:{quote(_clean(event.scope), safe='/@:')}",
        "type": _type(event),
        "subject": _clean(event.room),
        "time": format_time(event.received_us),
        # extensions, so that a receiver can keep rooms apart and put each one's events in order
        "partitionkey": _clean(f"{event.scope}/{event.room}") if event.room else "",
        "sequence": event.id,
    }
    return {name: value for name, value in attributes.items() if value}


def _type(event: Event) -> str:
    """`tdbwatch.event.disk-full`, `tdbwatch.room.joined`; of a gap just `tdbwatch.gap`."""
    parts = ["tdbwatch", event.kind]
    if event.event not in ("", event.kind) or event.kind == Kind.EVENT:
        parts.append(_clean(event.event))
    return ".".join(part for part in parts if part)


def _cloudevent(event: Event, source: str | None) -> bytes:
    attributes = {**_attributes(event, source), "datacontenttype": "application/json"}
    return _encode(attributes)[:-1] + b',"data":' + event.json() + b"}"


def _array(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _clean(text: str) -> str:
    """`text` in what an attribute may hold; the rest as `\\xNN`. The data has it as it is."""
    return _NO_ATTRIBUTE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
