"""One connection to a server: what is published on it, and the answers to that."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final, Self

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

_TO_CLOSE: Final = 1.0
"""Seconds: it would write what is left, to a server that may not read."""
_TRIES: Final = 2
"""Of each server, beside the first."""
_PERMISSIONS: Final = "permissions violation"


class RefusedError(Exception):
    """The server does not let this user in, or not publish: somebody has to mend that."""


class _Client(Client):
    """nats-py's, but where the address says `tls://` it logs in by TLS only.

    nats-py asks the server whether it wants TLS, before it is known who the server is. Whoever sits between
    could say no, and read the password.
    """

    def _connect_command(self) -> bytes:
        server = self._current_server
        if server is not None and server.uri.scheme == "tls" and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        command: bytes = super()._connect_command()
        return command


class Connection:
    """It does not reconnect: what was in flight as it broke is to be tried again, on a new one.

    nats-py's own `publish` would have a task for each message, and says nothing where publishing is
    forbidden: the answer just does not come.
    """

    def __init__(self) -> None:
        self._client = _Client()
        self._inbox = ""
        self._numbers = count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._trouble: Exception | None = None

    @classmethod
    async def to(
        cls,
        servers: Sequence[str],
        name: str,
        tls: ssl.SSLContext | None,
        login: dict[str, Any],
        seconds: float,
    ) -> Self:
        """Connect to one of the servers; without `tls` the system's certificates are trusted.

        Raises:
            RefusedError: it does not let us in.
            OSError: none can be reached.
        """
        self = cls()
        try:
            await self._client.connect(
                list(servers),
                name=name,
                tls=tls,
                connect_timeout=seconds,  # type: ignore[arg-type]  # seconds, whole or not
                allow_reconnect=False,
                max_reconnect_attempts=_TRIES,
                reconnect_time_wait=0,
                error_cb=self._noted,
                closed_cb=self._closed,
                **login,
            )
            self._inbox = self._client.new_inbox()
            await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await self.close()
            raise self._why(error) from None
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def is_open(self) -> bool:
        return self._client.is_connected

    @property
    def max_payload(self) -> int:
        """Bytes that a message may have, its headers included."""
        return self._client.max_payload

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> asyncio.Future[Msg]:
        """Publish a message behind those that were published before; the future is its answer."""
        number = str(next(self._numbers))
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._waiting.pop(number, None))
        try:
            await self._client.publish(subject, payload, f"{self._inbox}.{number}", headers)
        except BaseException:
            future.cancel()
            raise
        return future

    async def close(self) -> None:
        """Let go of it, whatever state it is in."""
        with suppress(Exception):
            async with asyncio.timeout(_TO_CLOSE):
                await self._client.close()

    async def _answered(self, answer: Msg) -> None:
        future = self._waiting.get(answer.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(answer)

    async def _noted(self, error: Exception) -> None:
        if self._trouble is None or not _is_about_login(self._trouble):
            self._trouble = error  # a server that refuses a login may be gone before that is read
        if _PERMISSIONS in str(error).lower():
            self._give_up(RefusedError(str(error)))

    async def _closed(self) -> None:
        self._give_up(ConnectionResetError("the connection was lost"))

    def _give_up(self, why: Exception) -> None:
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(why)

    def _why(self, error: Exception) -> Exception:
        told = self._trouble or error
        text = f"{type(told).__name__}: {told}"
        return RefusedError(text) if _is_about_login(told) else ConnectionError(text)


def _is_about_login(error: Exception) -> bool:
    return "authorization" in str(error).lower()
