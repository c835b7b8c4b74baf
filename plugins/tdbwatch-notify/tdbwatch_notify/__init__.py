"""A tdbwatch sink that sends events as chat messages, mails and pages, by Apprise."""

from tdbwatch_notify.options import NotifyOptions
from tdbwatch_notify.sink import NotifySink

__tdbwatch_api__ = 1

__all__ = ["NotifyOptions", "NotifySink"]
