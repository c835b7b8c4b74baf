"""Keeping the options' secrets out of reasons, logs and errors."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from tdbwatch.disguised import dressed
from tdbwatch.sinks.webhook.addresses import parse_url
from tdbwatch.sinks.webhook.credentials import authorization, split_url
from tdbwatch.sinks.webhook.options import WebhookOptions

_MIN_LENGTH: Final = 4  # shorter ones would blot out ordinary text
_LONG: Final = 12
_SHORT: Final = 6
_MASK: Final = "***"


class Redactor:
    """Replaces what the options keep secret."""

    def __init__(self, options: WebhookOptions) -> None:
        found = {
            dress for secret in _secrets(options) if len(secret) >= _MIN_LENGTH for dress in dressed(secret)
        }
        self._secrets = sorted(found, key=len, reverse=True)  # so that none shields a longer one

    def __call__(self, text: str, *, cut: bool = False) -> str:
        """`text` without the secrets; of one that was `cut` also without the beginning of one at its end."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text[: len(text) - self._torn(text)] if cut else text

    def _torn(self, text: str) -> int:
        """How many characters at the end of `text` are the beginning of a secret."""
        sizes = (
            size for secret in self._secrets for size in range(1, len(secret)) if text.endswith(secret[:size])
        )
        return max(sizes, default=0)

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} secrets)"


def _secrets(options: WebhookOptions) -> Iterator[str]:
    yield from _of_url(options.url.get_secret_value(), "Authorization")
    if options.proxy is not None:
        yield from _of_url(options.proxy.get_secret_value(), "Proxy-Authorization")
    for secret in (*options.headers.values(), *options.secrets):
        yield from _of_header(secret.get_secret_value())
    for value in authorization(options).values():
        yield from _of_header(value)
    if options.auth is not None and options.auth.basic is not None:
        yield options.auth.basic.password.get_secret_value()


def _of_header(value: str) -> Iterator[str]:
    yield value
    yield value.rpartition(" ")[2]  # `Bearer TOKEN`


def _may_be_token(part: str) -> bool:
    """Whether a part of a path is no ordinary word: it is long, has digits, or mixes small and capital."""
    is_word = part.isalpha() and part in {part.lower(), part.capitalize()}
    return len(part) >= _LONG or (len(part) >= _SHORT and not is_word)


def _of_url(text: str, header: str) -> Iterator[str]:
    url = parse_url(text)
    if url.raw_path_qs not in ("", "/"):
        yield str(url.with_user(None))  # as errors of aiohttp show it
        yield str(url.with_user(None).with_fragment(None))
    segments = filter(_may_be_token, url.raw_path.split("/"))
    values = [pair.partition("=")[2] for pair in url.raw_query_string.split("&")]
    user = (url.raw_user, url.raw_password)
    for part in (text, *user, url.raw_path_qs, url.raw_path, url.raw_query_string, *values, *segments):
        if part:
            yield part
            yield unquote(part)
    yield from url.query.values()
    for value in split_url(text, header)[1].values():
        yield from _of_header(value)
