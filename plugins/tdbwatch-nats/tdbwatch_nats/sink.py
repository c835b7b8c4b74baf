"""The sink: a batch is published at once, and delivered as far as the stream has acknowledged it."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import nats
from nats.aio.msg import Msg
from tdbwatch.plugin import (
    DELIVERED,
    Event,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkContext,
    TemplateError,
    Tls,
    sink,
)

from tdbwatch_nats.connection import Connection, RefusedError
from tdbwatch_nats.options import NatsOptions, is_subject

_SHARE: Final = 0.9
"""Of the sink's timeout: what is done by then can still be said."""
_TO_CONNECT: Final = 5.0
_TOO_LARGE: Final = 10054
_OTHER_STREAM: Final = 10060
"""Error codes of JetStream, from its server's `errors.json`."""
_NO_RESPONDERS: Final = "503"

Sent = asyncio.Future[Msg]


@sink("nats", batch_count=256)
class NatsSink(Sink):
    """Publishes events to NATS JetStream."""

    Options = NatsOptions

    def __init__(self, options: NatsOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()  # several batches may be under way, and share one connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        sent: list[Sent | Rejected] = []
        seconds = _SHARE * self.options.timeout
        try:
            async with asyncio.timeout(seconds):
                await self._publish(batch, sent)
                if waiting := [one for one in sent if isinstance(one, asyncio.Future)]:
                    await asyncio.wait(waiting)
        except TimeoutError:
            trouble = Retry(f"no answer within {seconds:.3g} s")
        except RefusedError as error:
            trouble = _refused(error)
        except (nats.errors.Error, OSError) as error:
            trouble = Retry(str(error) or type(error).__name__)
        else:
            trouble = Retry("no answer")
        finally:
            for one in sent:
                if isinstance(one, asyncio.Future):
                    one.cancel()  # which a done one does not mind
        return self._outcomes(sent, trouble)

    async def _publish(self, batch: Sequence[Event], sent: list[Sent | Rejected]) -> None:
        """Send each, in order, without waiting for its answer."""
        connection = await self._connected()
        for event in batch:
            sent.append(await self._send(connection, event))

    async def _send(self, connection: Connection, event: Event) -> Sent | Rejected:
        try:
            subject = self.options.subject.render(event)
        except TemplateError as error:
            return Rejected(f"the template of its subject fails for this event: {error}")
        if not is_subject(subject):
            return Rejected(f"the template of its subject makes {subject!r} of this event, which is none")
        headers = {"Nats-Msg-Id": event.id}
        if self.options.stream is not None:
            headers["Nats-Expected-Stream"] = self.options.stream
        payload = event.json()
        size = len(payload) + _size_of(headers)
        if size > connection.max_payload:
            return Rejected(f"it has {size:,} bytes, and the server takes {connection.max_payload:,}")
        return await connection.publish(subject, payload, headers)

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                await self.close()
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        options = self.options
        return await Connection.to(
            options.servers,
            f"tdbwatch {self.context.name}",
            None if options.tls == Tls() else options.tls.context(),
            options.login,
            min(_TO_CONNECT, _SHARE / 2 * options.timeout),
        )

    def _outcomes(self, sent: Sequence[Sent | Rejected], trouble: Retry) -> Retry | Sequence[Outcome]:
        """One for each, up to the first that is to be tried again; `trouble` is why one has no answer."""
        outcomes: list[Outcome] = []
        for one in sent:
            outcomes.append(one if isinstance(one, Rejected) else self._outcome(one, trouble))
            if isinstance(outcomes[-1], Retry):
                break
        if not outcomes:
            return trouble
        return outcomes[0] if isinstance(outcomes[0], Retry) else outcomes

    def _outcome(self, sent: Sent, trouble: Retry) -> Outcome:
        if sent.cancelled():
            return trouble
        error = sent.exception()
        if isinstance(error, RefusedError):
            return _refused(error)
        return Retry(str(error)) if error is not None else self._judge(sent.result())

    def _judge(self, answer: Msg) -> Outcome:
        """What the stream says, or the server in its place."""
        if (answer.headers or {}).get("Status") == _NO_RESPONDERS:
            return Retry(
                "no stream takes this subject, or JetStream is not ready; "
                "`nats stream add` with --subjects makes one"
            )
        try:
            said: dict[str, Any] = json.loads(answer.data)
        except ValueError:
            return Retry("who answered is no stream")
        error = said.get("error")
        if error is None:
            return DELIVERED if "stream" in said else Retry("who answered is no stream")
        text, code = f"{error.get('description')} ({error.get('err_code')})", error.get("err_code")
        if code == _TOO_LARGE:
            return Rejected(text)
        return (
            Retry(f"{text}; mend `stream` or `subject`", pause=True) if code == _OTHER_STREAM else Retry(text)
        )


def _refused(error: RefusedError) -> Retry:
    return Retry(f"{error}; mend the login, or the user's right to publish", pause=True)


def _size_of(headers: dict[str, str]) -> int:
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{name}: {value}\r\n") for name, value in headers.items())
