"""Text that others wrote: fit for a line that people read on a terminal, and how it may repeat a secret."""

import html
import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with what could break a line or steer a terminal shown as `\\xNN`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def dressed(secret: str) -> Iterator[str]:
    """A secret as it is, and as texts that repeat it may write it: in JSON, in HTML, in a URL."""
    yield secret
    for ensure_ascii in (True, False):
        text = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        yield text
        yield text.replace("/", "\\/")  # PHP's way
    yield html.escape(secret)
    yield quote(secret, safe="")
