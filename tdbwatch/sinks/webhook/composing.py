"""What is sent for one event: in a format, or as the options' templates say."""

from dataclasses import replace
from typing import Final

from tdbwatch.plugin import Event, JsonTemplate, Template
from tdbwatch.plugin.template import has_tag
from tdbwatch.sinks.webhook.addresses import without_user
from tdbwatch.sinks.webhook.messages import SINGLE, Message
from tdbwatch.sinks.webhook.options import WebhookOptions

_TEXT: Final = "text/plain; charset=utf-8"


class Composer:
    """Makes the message for an event.

    Calling it raises `TemplateError` where a template cannot be rendered for the event, and never will be.
    """

    def __init__(self, options: WebhookOptions) -> None:
        url = without_user(options.url.get_secret_value())
        headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        self._options = options
        self._url = Template(url, "url") if has_tag(url) else None
        self._headers = {name: Template(value) for name, value in headers.items() if has_tag(value)}
        self._type = (
            "application/json" if isinstance(options.body, JsonTemplate) else options.content_type or _TEXT
        )

    def __call__(self, event: Event) -> Message:
        message = self._message(event)
        if not self._headers and self._url is None:
            return message
        headers = {name: template.render_line(event) for name, template in self._headers.items()}
        url = None if self._url is None else self._url.render(event)
        return replace(message, headers={**headers, **message.headers}, url=url)

    def _message(self, event: Event) -> Message:
        if self._options.body is None:
            return SINGLE[self._options.format](event, self._options.source)
        return Message(
            event.id, self._type, self._options.body.render(event).encode(errors="backslashreplace")
        )
