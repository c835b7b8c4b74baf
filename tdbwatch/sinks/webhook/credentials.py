"""How we prove who we are: to the endpoint, and to a proxy."""

import base64

from yarl import URL

from tdbwatch.sinks.webhook.addresses import parse_url
from tdbwatch.sinks.webhook.options import WebhookOptions


def split_url(text: str, header: str) -> tuple[URL, dict[str, str]]:
    """The URL without its user and password, and the header `header` that carries them, if there are any."""
    url = parse_url(text)
    if url.user is None and url.password is None:
        return url, {}
    return url.with_user(None), {header: _basic(url.user or "", url.password or "")}


def authorization(options: WebhookOptions) -> dict[str, str]:
    """The header that the option `auth` stands for."""
    if options.auth is None:
        return {}
    if options.auth.bearer is not None:
        return {"Authorization": f"Bearer {options.auth.bearer.get_secret_value()}"}
    basic = options.auth.basic
    assert basic is not None
    return {"Authorization": _basic(basic.username, basic.password.get_secret_value())}


def _basic(username: str, password: str) -> str:
    """RFC 7617, with UTF-8."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
