"""The sink: a batch is one transaction, so that what is in a stream is in the order of its room."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry as RetryPolicy
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from tdbwatch.plugin import (
    DELIVERED,
    Event,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkContext,
    TemplateError,
    sink,
)

from tdbwatch_redis.options import RedisOptions

_SHARE: Final = 0.9
"""Of the sink's timeout: what is done by then can still be said."""
_REFUSED: Final = (AuthenticationError, NoPermissionError)

Entry = tuple[str, dict[Any, Any]]


@sink("redis", batch_count=500)
class RedisSink(Sink):
    """Adds events to Redis Streams."""

    Options = RedisOptions

    def __init__(self, options: RedisOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._given: dict[str, Any] = {}
        self._client: Redis | None = None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose(close_connection_pool=True)

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        """All of a batch is added, or nothing."""
        entries = [self._entry(event) for event in batch]
        added = await self._add([entry for entry in entries if not isinstance(entry, Rejected)])
        if isinstance(added, Retry):
            return added  # said of the sink as a whole: the order within it is kept by trying nothing else
        outcomes: list[Outcome] = []
        told = iter(added)
        for entry in entries:
            outcomes.append(entry if isinstance(entry, Rejected) else next(told))
            if isinstance(outcomes[-1], Retry):
                break
        return outcomes

    def _entry(self, event: Event) -> Entry | Rejected:
        try:
            stream = self.options.stream.render(event)
        except TemplateError as error:
            return Rejected(f"the template of its stream fails for this event: {error}")
        if not stream:
            return Rejected("the template of its stream makes no name of this event")
        fields: dict[Any, Any] = {
            "id": event.id,
            "kind": event.kind,
            "scope": event.scope,
            "room": event.room,
            "event": event.event,
            "record": event.json(),
        }
        return stream, fields

    async def _add(self, entries: Sequence[Entry]) -> Retry | Sequence[Outcome]:
        if not entries:
            return []
        seconds = _SHARE * self.options.timeout
        try:
            async with asyncio.timeout(seconds):
                answers = await self._transaction(entries)
        except TimeoutError:
            return Retry(f"no answer within {seconds:.3g} s")
        except (RedisError, OSError) as error:
            return _failed(error)
        return [self._judge(answer) for answer in answers]

    async def _transaction(self, entries: Sequence[Entry]) -> Sequence[Any]:
        """What became of each.

        `MULTI` and `EXEC` are sent as ordinary commands: redis-py's own transactions put the command into
        the text of an error, and with it what the event says.

        Raises:
            RedisError: nothing was added.
        """
        async with (await self._connected()).pipeline(transaction=False) as pipe:
            pipe.execute_command("MULTI")
            for stream, fields in entries:
                pipe.xadd(stream, fields, maxlen=self.options.maxlen, approximate=True)
            pipe.execute_command("EXEC")
            *queued, done = await pipe.execute(raise_on_error=False)
        if isinstance(done, list):
            return done
        raise next((answer for answer in queued if isinstance(answer, RedisError)), done)

    async def _connected(self) -> Redis:
        """The client. It connects by itself; it is made anew when a secret was rotated."""
        if self._client is None or self.options.connection != self._given:
            await self.close()
            self._given = self.options.connection
            pool = ConnectionPool(
                **self._given,
                retry=RetryPolicy(NoBackoff(), 1),  # a connection that was idle may be closed
                socket_timeout=None,  # the whole delivery has one
            )
            self._client = Redis(connection_pool=pool)
        return self._client

    def _judge(self, answer: object) -> Outcome:
        if not isinstance(answer, Exception):
            return DELIVERED
        if str(answer).startswith("WRONGTYPE"):
            if self.options.stream.is_constant:
                return Retry("the key is no stream; delete it, or write another `stream`", pause=True)
            return Rejected("the key that its template makes is no stream")
        return _failed(answer)


def _failed(error: Exception) -> Retry:
    """Somebody has to mend a wrong password or a missing right; anything else may pass."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, _REFUSED):
        return Retry(
            f"{said}; mend username, password, or the user's rights (+xadd +multi +exec)", pause=True
        )
    return Retry(said)
