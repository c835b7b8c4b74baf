"""One request and the beginning of its answer, within a deadline and a bound, over aiohttp."""

import asyncio
import errno
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from yarl import URL

from tdbwatch import __version__
from tdbwatch.blocking import in_own_thread
from tdbwatch.descriptors import REMEDY, was_short
from tdbwatch.plugin.template import has_tag
from tdbwatch.sinks.webhook.addresses import parse_url
from tdbwatch.sinks.webhook.credentials import authorization, split_url
from tdbwatch.sinks.webhook.failures import why
from tdbwatch.sinks.webhook.messages import Message
from tdbwatch.sinks.webhook.options import WebhookOptions
from tdbwatch.sinks.webhook.receiving import CARRIER, Connector, Receiver, Request
from tdbwatch.sinks.webhook.resolving import Resolver
from tdbwatch.tls_files import TlsFiles

EXCERPT_BYTES: Final = 4096
_DRAIN_BYTES: Final = 65_536  # a longer answer costs its connection
_BODY_SECONDS: Final = 2.0  # the status says it all; a body that trickles may not hold up the next event
_IDLE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 10.0
"""Seconds between looks at the TLS files."""
_PIECE_BYTES: Final = 2**16
"""A body over this is sent piece by piece, so that other sinks get their turn between."""
_PROXY_REFUSES: Final = 407


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    excerpt: bytes
    whole: bool
    """Whether `excerpt` is all of the body."""


class Transport:
    """A session of connections to one endpoint. Nobody else has to know what aiohttp raises."""

    def __init__(self, options: WebhookOptions, log: Any) -> None:
        self._log = log
        self._method = options.method
        self.identify(options)
        self._tls = TlsFiles(options.tls)
        self._context: ssl.SSLContext | None = None
        self._looked = 0.0
        self._session: aiohttp.ClientSession | None = None

    def identify(self, options: WebhookOptions) -> None:
        """Take where to send to, and how we prove who we are, from the options as they are now."""
        self._url, self._headers = split_url(options.url.get_secret_value(), "Authorization")
        given = {name: value.get_secret_value() for name, value in options.headers.items()}
        self._headers |= {name: value for name, value in given.items() if not has_tag(value)}
        self._headers |= authorization(options)
        if options.handshake is not None:
            self._headers["Origin"] = options.handshake.origin
        self._headers.setdefault("User-Agent", f"tdbwatch/{__version__}")
        self._proxy = self._proxy_arguments(options)
        self._name = _name_of_certificate(self._url)

    async def open(self) -> None:
        """Make the session, anew if there is one.

        Raises:
            OSError: a TLS file cannot be read, or holds no certificate (`ssl.SSLError`).
        """
        await self.close()
        self._context = await in_own_thread(self._tls.load, "tdbwatch-webhook-tls")
        self._looked = asyncio.get_running_loop().time()
        self._session = aiohttp.ClientSession(  # no headers here: aiohttp would give them to a proxy too
            # as many connections as `max_in_flight` lets requests be: one that waited would lose its time
            connector=Connector(limit=0, keepalive_timeout=_IDLE_SECONDS, resolver=Resolver()),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # `send` keeps the time, the body's excerpt included
            auto_decompress=False,
            request_class=Request,
            trace_configs=[_tracing_reuse()],
        )

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, message: Message, headers: dict[str, str], seconds: float) -> Answer:
        """Send one message; the answer counts from its headers on, whatever its body does.

        Takes at most `seconds`, the body included.

        Raises:
            TimeoutError: no answer in time.
            ConnectionError: the way there failed; it says how.
            OSError: with `errno` EMFILE: there was no descriptor.
        """
        sent = {**message.headers, **headers, "Content-Type": message.content_type}
        url = self._url if message.url is None else parse_url(message.url)
        return await self._exchange(self._method, url, message.body, sent, seconds)

    async def ask(self, headers: dict[str, str], seconds: float) -> Answer:
        """Ask what the receiver allows (`OPTIONS`). Raises as `send` does."""
        return await self._exchange("OPTIONS", self._url, None, headers, seconds)

    async def _exchange(
        self, method: str, url: URL, body: bytes | None, headers: dict[str, str], seconds: float
    ) -> Answer:
        try:
            return await self._answer(method, url, body, headers, seconds)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            if was_short(error):
                raise OSError(errno.EMFILE, f"too many open files; {REMEDY}") from None
            raise ConnectionError(why(error)) from None

    async def _answer(
        self, method: str, url: URL, body: bytes | None, headers: dict[str, str], seconds: float
    ) -> Answer:
        sent = {**self._headers, **headers, "Accept-Encoding": "identity"}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        async with asyncio.timeout_at(deadline):
            await self._renew_tls()
            response = await self._request(method, url, body, sent)
        if isinstance(response, int):
            return Answer(response, {}, b"", whole=False)
        try:
            if response.status == _PROXY_REFUSES and self._proxy and self._url.scheme == "http":
                raise OSError("the proxy refuses our credentials (407)")
            excerpt, whole = await _excerpt(response, min(deadline, loop.time() + _BODY_SECONDS))
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()
        return Answer(response.status, response.headers, excerpt, whole)

    async def _renew_tls(self) -> None:
        """Look now and then whether certificates were rotated; the old ones serve until the new ones load."""
        now = asyncio.get_running_loop().time()
        if self._url.scheme != "https" or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            self._context = (
                await in_own_thread(self._changed_context, "tdbwatch-webhook-tls") or self._context
            )
        except OSError as error:
            self._log.warning(
                "webhook.tls_files_unusable",
                error=error.strerror or str(error),
                remedy="mend the TLS files; until then those from before are used",
            )

    def _changed_context(self) -> ssl.SSLContext | None:
        return self._tls.load() if self._tls.changed() else None

    async def _request(
        self, method: str, url: URL, body: bytes | None, headers: dict[str, str]
    ) -> aiohttp.ClientResponse | int:
        """One request, over a new connection if the receiver had closed the ones it kept.

        It may do so at any time, also just as we send: that tells nothing of the request. Of an answer with
        more headers than anybody reads, or with broken ones, only the status is returned.
        """
        if self._session is None:
            raise RuntimeError("the sink is not open")
        carriers: list[Receiver] = []
        CARRIER.set(carriers)
        while True:
            connection = SimpleNamespace(used_before=False)
            try:
                return await self._session.request(
                    method,
                    url,
                    data=BytesIO(body) if body and len(body) > _PIECE_BYTES else body,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=connection,
                    ssl=self._context if self._context is not None else True,
                    server_hostname=self._name,
                    **self._proxy,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not connection.used_before:  # every round ends one of the connections that were kept
                    raise
            except aiohttp.ClientResponseError as error:
                status = carriers[-1].status if carriers else None
                if status is None or type(error) is not aiohttp.ClientResponseError:  # a proxy's
                    raise
                return status

    def _proxy_arguments(self, options: WebhookOptions) -> dict[str, Any]:
        if options.proxy is None:
            return {}
        url, headers = split_url(options.proxy.get_secret_value(), "Proxy-Authorization")
        if self._url.scheme == "http":  # there is no CONNECT then: the request itself goes to the proxy
            self._headers |= headers
        return {"proxy": url, "proxy_headers": headers}


def _name_of_certificate(url: URL) -> str | None:
    """The name that it should be for, where that is not the URL's: a trailing dot is for name servers."""
    host = url.raw_host or ""
    return host.rstrip(".") if host.endswith(".") else None


async def _excerpt(response: aiohttp.ClientResponse, deadline: float) -> tuple[bytes, bool]:
    """The body's beginning, and whether that is all of it.

    Reads on to its end where that is near, so that the connection can be used again.
    """
    kept, seen = b"", 0
    try:
        async with asyncio.timeout_at(deadline):
            async for piece in response.content.iter_any():
                kept += piece[: EXCERPT_BYTES - len(kept)]
                seen += len(piece)
                if seen > _DRAIN_BYTES:
                    break
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status has been said
    return kept, response.content.at_eof() and seen == len(kept)


def _tracing_reuse() -> aiohttp.TraceConfig:
    """Tells each request whether its connection was used before."""

    async def reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.used_before = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(reused)
    return tracing
