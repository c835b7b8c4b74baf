"""A host whose calls are spans, by OpenTelemetry's conventions for messaging (1.44).

What is said of events is their number, the id of a single one, and the room, if they have one in common, but
never what they hold.
"""

from collections.abc import Sequence

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from tdbwatch.daemon.couriers.answer import VerdictError, judge
from tdbwatch.daemon.hosting.hosts import Host
from tdbwatch.plugin.event import Event
from tdbwatch.plugin.outcome import Rejected, Retry
from tdbwatch.plugin.sink import Verdict
from tdbwatch.plugin.tracing import handing_on
from tdbwatch.redaction import presentable


class TracedHost:
    """Another host, and around each delivery a span.

    Args:
        sink: its name.
        sink_type: what the configuration calls its type.
    """

    def __init__(self, host: Host, tracer: Tracer, sink: str, sink_type: str) -> None:
        self._host = host
        self._tracer = tracer
        self._fixed: dict[str, AttributeValue] = {
            "messaging.system": "thingsdb",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": sink,
            "tdbwatch.sink.type": sink_type,
        }

    @property
    def stuck(self) -> bool:
        return self._host.stuck

    async def open(self) -> None:
        await self._host.open()

    async def close(self, grace: float) -> None:
        await self._host.close(grace)

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        about = _about(batch)
        room = about.get("messaging.destination.name")
        with self._tracer.start_as_current_span(
            "process" if room is None else f"process {room}",
            kind=SpanKind.CONSUMER,
            attributes=self._fixed | about,
            record_exception=False,  # its traceback may show what events hold, or a secret
            set_status_on_exception=False,
        ) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            try:
                with handing_on(headers):
                    verdict = await self._host.deliver(batch)
                _tell(span, verdict, len(batch))
            except Exception as error:
                _failed(span, type(error).__name__, str(error))
                raise
            return verdict


def _about(batch: Sequence[Event]) -> dict[str, AttributeValue]:
    rooms = {(event.scope, event.room) for event in batch}
    about: dict[str, AttributeValue] = {}
    if len(rooms) == 1:
        ((scope, room),) = rooms
        about = (
            {"messaging.destination.name": room, "tdbwatch.scope": scope}
            if room
            else {"tdbwatch.scope": scope}
        )
    if len(batch) == 1:
        return about | {"messaging.message.id": batch[0].id}
    return about | {"messaging.batch.message_count": len(batch)}


def _tell(span: Span, verdict: Verdict, count: int) -> None:
    """What came of it; the first that was not delivered says why."""
    try:
        outcomes = judge(verdict, count)
    except VerdictError as error:  # which the courier will find, too
        _failed(span, type(error).__name__, str(error))
        return
    for outcome in outcomes or ():
        if isinstance(outcome, Retry | Rejected):
            _failed(span, type(outcome).__name__.lower(), outcome.reason)
            return


def _failed(span: Span, kind: str, reason: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, presentable(reason)))
