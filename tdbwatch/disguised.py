"""How texts of others may repeat a secret. Pure."""

import html
import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

_JSON_IN_HTML: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})
"""Go's way."""
_ENTITIES: Final = [
    str.maketrans(entities)
    for entities in (
        {},
        {'"': "&quot;", "'": "&#x27;"},  # Python's
        {'"': "&quot;", "'": "&#39;"},  # JavaScript's
        {'"': "&quot;", "'": "&#039;"},  # PHP's
        {'"': "&#34;", "'": "&#39;", "+": "&#43;"},  # Go's
    )
]
_SAFE_IN_URLS: Final = ("", "/", "!'()*")
"""What they leave as it is: nothing, paths, JavaScript."""
_PERCENT: Final = re.compile("%[0-9A-F]{2}")


def dressed(secret: str) -> Iterator[str]:
    """A secret as it is, and as texts that repeat it may write it: in JSON, in HTML, in a URL."""
    yield secret
    for ensure_ascii in (True, False):
        text = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        for one in (text, text.translate(_JSON_IN_HTML)):
            yield one
            yield one.replace("/", "\\/")  # PHP's way
    for entities in _ENTITIES:
        yield html.escape(secret, quote=False).translate(entities)
    for safe in _SAFE_IN_URLS:
        text = quote(secret, safe=safe)
        yield text
        yield _PERCENT.sub(lambda match: match[0].lower(), text)
