"""What an HTTP answer means for an event. Pure."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from tdbwatch.plugin import DELIVERED, Outcome, Rejected, Retry

MAX_RETRY_AFTER: Final = 3600.0
"""Seconds; a receiver that asks for more is asked again after this."""
REFUSED_PAUSE: Final = 300.0
"""Seconds until a receiver that refuses our credentials is asked again: they are mended at either end."""
FORBIDDEN: Final = 403
GONE: Final = 410
PAUSES: Final = (401, FORBIDDEN, GONE)
"""What says that somebody has to mend something, rather than that this event is wrong."""

_MEANS: Final = {
    401: "the receiver does not accept our credentials",
    FORBIDDEN: "the receiver forbids it: are our credentials still right?",
    GONE: "the receiver wants no more events",
}

_TRY_AGAIN: Final = frozenset({408, 425, 429})
_NOT_IMPLEMENTED: Final = 501
_DIGITS: Final = re.compile(r"[0-9]+")


def outcome_of(
    status: int,
    headers: Mapping[str, str],
    excerpt: str,
    now: float,
    retry_status: Collection[int] = (),
    pause_status: Collection[int] = PAUSES,
) -> Outcome:
    """The outcome for an answer.

    Args:
        status: the HTTP status.
        headers: the answer's headers; only `Retry-After` and `Date` are read.
        excerpt: the beginning of the body, already redacted.
        now: seconds since the Unix epoch; where the answer has a `Date`, that counts: clocks differ.
        retry_status: statuses to try again after, besides the usual ones.
        pause_status: statuses after which the sink rests; `retry_status` comes first.
    """
    if 200 <= status < 300:
        return DELIVERED
    reason = f"HTTP {status}" + (f": {excerpt}" if excerpt else "")
    if status in pause_status and status not in retry_status:
        meaning = f" ({_MEANS[status]})" if status in _MEANS else ""
        own = MAX_RETRY_AFTER if status == GONE else REFUSED_PAUSE
        asked = retry_after(headers.get("Retry-After"), _said_at(headers, now))
        return Retry(reason + meaning, own if asked is None else max(asked, own), pause=True)
    if _is_temporary(status) or status in retry_status:
        return Retry(reason, retry_after(headers.get("Retry-After"), _said_at(headers, now)))
    if 300 <= status < 400:
        return Rejected(f"{reason} (redirects are not followed; set the url to the new address)")
    return Rejected(reason)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that `Retry-After` asks for, between 0 and the cap (RFC 9110, 10.2.3: a number or a date).

    A date without a zone is UTC: one of the three forms that HTTP has names none.
    """
    if value is None:
        return None
    text = value.strip()
    if _DIGITS.fullmatch(text):
        seconds = float(text)
    else:
        date = _date(text)
        if date is None:
            return None
        seconds = date - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _said_at(headers: Mapping[str, str], now: float) -> float:
    """When the answer was given, by the clock of who gave it, if it tells."""
    date = _date(headers.get("Date", ""))
    return now if date is None else date


def _date(text: str) -> float | None:
    """A date of HTTP as seconds since the Unix epoch; None: it is none."""
    try:
        date = parsedate_to_datetime(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _is_temporary(status: int) -> bool:
    """Also what is no status at all, which counts as a failure of the server (RFC 9110, 15)."""
    return status in _TRY_AGAIN or (not 200 <= status < 500 and status != _NOT_IMPLEMENTED)
