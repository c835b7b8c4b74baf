"""Keeps configured secrets out of what is said, also where others put them: in a plugin's exception, say."""

import re
from collections.abc import Iterable
from typing import Final

from tdbwatch.disguised import dressed
from tdbwatch.printable import printable, shortened

STARS: Final = "**********"
SHORTEST: Final = 4
"""Characters; what is shorter would be found in ordinary words, and is no secret worth the name."""
_LIKE_A_WORD: Final = 8
"""Letters. Fewer may be a part of a longer word, where stars would tell of the secret, not hide it."""
_BEFORE: Final = r"(?:(?<![^\W_])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[abfnrtv]))"
"""Where a word begins: also behind an escaped character, of a URL or a string."""
_AFTER: Final = r"(?![^\W_])"


class Redactor:
    """Replaces every secret that it knows in a text.

    Short ones of letters only where they are no part of a longer word: beside `pass`, a `password` stays one.
    """

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()
        self._words: dict[str, re.Pattern[str]] = {}

    def remember(self, secrets: Iterable[str]) -> None:
        """Never show these, nor any line of them, nor how they look in JSON, HTML or a URL."""
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        known = {form for line in lines if len(line) >= SHORTEST for form in dressed(line)}
        known |= set(self._secrets)
        self._secrets = tuple(sorted(known, key=len, reverse=True))
        words = [secret for secret in known if len(secret) < _LIKE_A_WORD and secret.isalpha()]
        self._words = {word: re.compile(_BEFORE + word + _AFTER) for word in words}

    def forget(self) -> None:
        """Know none: another configuration takes the place of this one."""
        self._secrets, self._words = (), {}

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                word = self._words.get(secret)
                text = text.replace(secret, STARS) if word is None else word.sub(STARS, text)
        return text


redact: Final = Redactor()
"""The process's own: it has one configuration."""


MOST_SHOWN: Final = 2_000
"""Characters of a text of others that are kept and shown."""


def presentable(text: str, limit: int = MOST_SHOWN) -> str:
    """What others wrote, as it may be kept and shown: without our secrets, printable, not too long.

    Whatever a node, a receiver, a plugin or a visitor says goes through here, or through the log's own way
    (`logs.text`), before anybody sees it. Redacted first: a secret that was escaped or cut is not found.
    """
    return shortened(printable(redact(text[: 16 * limit])), limit)
