"""What the webhook sink's tests share."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tdbwatch.plugin import Event, Outcome, Rejected, Retry
from tdbwatch.sinks.webhook import WebhookSink

WHSEC = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "c2Vjb25kLWtleS1vZi10aGUtcm90YXRpb24="

Opened = Callable[..., AbstractAsyncContextManager[WebhookSink]]


def events(count: int) -> list[Event]:
    return [Event.create("alerts", f"disk-{n}", [f"db{n}", 90 + n]) for n in range(count)]


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry | Rejected)
    return outcome.reason
