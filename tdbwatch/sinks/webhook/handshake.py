"""Asking a receiver whether it wants events: CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery", 4."""

from collections.abc import Mapping
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.sinks.webhook.options import Handshake

_MINUTE: Final = 60.0


class NoConsentError(Exception):
    """The receiver does not say that it wants events from us."""


def request_headers(handshake: Handshake) -> dict[str, str]:
    """What the question carries."""
    headers = {"WebHook-Request-Origin": handshake.origin}
    if handshake.rate is not None:
        headers["WebHook-Request-Rate"] = str(handshake.rate)
    return headers


def interval_of(headers: Mapping[str, str], handshake: Handshake) -> float:
    """Seconds between requests that the answer allows; 0: it sets no bound. Its status means nothing.

    Raises:
        NoConsentError: it names another origin than ours, or none, or a rate that is no number.
    """
    origin, rate = headers.get("WebHook-Allowed-Origin", ""), headers.get("WebHook-Allowed-Rate", "*")
    if origin.strip().lower() not in ("*", handshake.origin.lower()):
        said = f"it allows {origin[:100]!r}" if origin else "it answers without WebHook-Allowed-Origin"
        raise NoConsentError(f"the receiver does not agree to events from {handshake.origin}: {said}")
    if rate.strip() == "*":
        return 0.0
    if not (rate.strip().isascii() and rate.strip().isdigit() and int(rate[:9])):
        raise NoConsentError(f"the receiver allows {rate[:100]!r} requests a minute, which is no number")
    return _MINUTE / int(rate[:9])


class Pace:
    """Keeps requests so far apart as the receiver allows."""

    def __init__(self, interval: float, clock: Clock) -> None:
        self.interval = interval
        self._clock = clock
        self._next = 0.0

    def wait(self) -> float:
        """Seconds until the next request may go."""
        return max(0.0, self._next - self._clock.monotonic())

    def went(self) -> None:
        """A request goes now."""
        self._next = self._clock.monotonic() + self.interval
