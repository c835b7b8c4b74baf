"""A service that Apprise knows: told something, it says whether that worked, and why not."""

import logging
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

_SEVERITIES: Final = {
    **dict.fromkeys(("failure", "error", "critical", "emergency", "alert"), "failure"),
    **dict.fromkeys(("warning", "warn"), "warning"),
    **dict.fromkeys(("success", "ok", "resolved"), "success"),
}
_SEPARATORS: Final = re.compile(r"[/:@?&=,#;+ ]+")
_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
_SHORTEST: Final = 4
"""Characters of what may be a secret."""
_STARS: Final = "**********"

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class _Overheard(logging.Filter):
    """What Apprise logs while it sends for us is ours: it is the reason of a failure, and says nothing twice."""

    def filter(self, record: logging.LogRecord) -> bool:
        heard = _heard.get()
        if heard is None:
            return True
        if record.levelno >= logging.WARNING:
            heard.append(record.getMessage())
        return False


_overheard: Final = _Overheard()


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told."""

    title: str
    body: str
    severity: str
    format: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it.

    Attributes:
        ok: it was taken.
        status: the status of HTTP that it was refused with, if Apprise tells one.
        reason: what Apprise says, without secrets.
    """

    ok: bool
    status: int | None = None
    reason: str = ""


class Service:
    """Behind one of Apprise's URLs.

    Raises:
        ValueError: Apprise does not know it, or misses something in it. Nothing of the URL is in the text.
    """

    def __init__(self, url: str) -> None:
        from apprise import Apprise, AppriseAsset  # takes most of a second

        logging.getLogger("apprise").addFilter(_overheard)
        self.url = url
        self._apprise = Apprise(asset=AppriseAsset(app_id="tdbwatch", app_desc="tdbwatch", async_mode=False))
        heard = _heard.set([])
        try:
            known = self._apprise.add(url)
        finally:
            _heard.reset(heard)
        if not known or len(self._apprise) != 1:
            raise ValueError("Apprise knows no such service, or misses something in the URL")
        shown = _SEPARATORS.split(next(iter(self._apprise)).url(privacy=True))  # type: ignore[no-untyped-call]
        parts = {part for text in (url, unquote(url)) for part in _SEPARATORS.split(text)}
        self._secrets = sorted(
            (part for part in parts if len(part) >= _SHORTEST and part not in shown), key=len, reverse=True
        )

    def tell(self, message: Message) -> Answer:
        """Send a message. It blocks, for some seconds where the service does not answer."""
        lines: list[str] = []
        heard = _heard.set(lines)
        try:
            ok = self._apprise.notify(
                title=message.title,
                body=message.body,
                notify_type=_SEVERITIES.get(message.severity.strip().lower(), "info"),
                body_format=message.format,
            )
        finally:
            _heard.reset(heard)
        if ok:
            return Answer(ok=True)
        said = " ".join(" ".join(lines).split())
        status = _STATUS.search(said)
        return Answer(
            ok=False,
            status=None if status is None else int(status[1]),
            reason=self._redacted(said) or "Apprise does not say why",
        )

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _STARS)
        return text
