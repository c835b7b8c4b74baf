"""The webhook sink: events to an HTTP endpoint, signed by Standard Webhooks, as records or CloudEvents."""

from tdbwatch.sinks.webhook.options import WebhookOptions
from tdbwatch.sinks.webhook.sink import WebhookSink

__all__ = ["WebhookOptions", "WebhookSink"]
