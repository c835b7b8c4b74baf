"""How calls of sinks get to the daemon's connector: from any thread, a few at a time, with a deadline."""

import asyncio
from collections.abc import Callable
from concurrent import futures
from typing import Any, Final

from tdbwatch.client import Client
from tdbwatch.client.asking import Asking
from tdbwatch.daemon.hosting.echoes import Echoes, Sent
from tdbwatch.exceptions import EncodeError, NotConnectedError, ThingsDBError
from tdbwatch.plugin.client import Ask

AT_ONCE: Final = 100
"""Calls of one sink that are under way at the same time."""
MOST_WAITING: Final = 10_000
"""Calls of one sink that wait for their turn or for an answer; further ones fail at once."""


class Reacting:
    """What sinks share: the connector, its loop, and what they have emitted. Made in the daemon's loop.

    Args:
        connect: called before the first call of a sink, where nobody has connected the client yet.
    """

    def __init__(self, client: Client, echoes: Echoes, connect: Callable[[], object] | None = None) -> None:
        self.client = client
        self.echoes = echoes
        self.loop = asyncio.get_running_loop()
        self._connect = connect

    def wake(self) -> Client:
        """The client, which is connected, or being so."""
        connect, self._connect = self._connect, None
        if connect is not None:
            connect()
        return self.client

    def way(self, timeout: float) -> "SinkWay":
        """One sink's way to the connector; its calls have `timeout` seconds if they do not say."""
        return SinkWay(self, timeout)


class SinkWay:
    """The way of one sink's calls (`tdbwatch.plugin.client.Way`)."""

    def __init__(self, reacting: Reacting, timeout: float) -> None:
        self._reacting = reacting
        self._timeout = timeout
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def begin(self, ask: Ask, timeout: float | None) -> "futures.Future[Any]":
        """Have `ask` called in the daemon's loop.

        Raises:
            NotConnectedError: the daemon has stopped.
        """
        work = self._asked(ask, timeout or self._timeout)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._reacting.loop)
        except RuntimeError:
            work.close()
            raise NotConnectedError("nothing is sent: tdbwatch has stopped") from None

    def emit(self, room: int | str, event: str, args: list[Any], scope: str | None, hops: int) -> Ask:
        """What emits, and remembers that it did."""
        reacting = self._reacting
        scope = scope or reacting.client.get_default_scope()
        sent = Sent(scope, room, event, args, hops)

        async def ask(client: Asking, timeout: float) -> None:
            reacting.echoes.expect(sent)  # it may be heard before it is answered
            try:
                await client.emit(room, event, *args, scope=scope, timeout=timeout)
            except (ThingsDBError, NotConnectedError, EncodeError):
                reacting.echoes.forget(sent)
                raise

        return ask

    def may_block(self) -> bool:
        """Whether the calling thread is not the daemon's."""
        try:
            return asyncio.get_running_loop() is not self._reacting.loop
        except RuntimeError:
            return True

    async def _asked(self, ask: Ask, timeout: float) -> Any:
        if self._waiting >= MOST_WAITING:
            raise NotConnectedError(f"nothing is sent: {MOST_WAITING:,} calls of this sink wait already")
        self._waiting += 1
        try:
            return await self._in_turn(ask, timeout)
        finally:
            self._waiting -= 1

    async def _in_turn(self, ask: Ask, timeout: float) -> Any:
        if self._turns.locked():
            timeout = await self._wait_for_turn(timeout)
        else:
            await self._turns.acquire()  # at once
        try:
            return await ask(self._reacting.wake(), timeout)
        finally:
            self._turns.release()

    async def _wait_for_turn(self, timeout: float) -> float:
        """The seconds that are left when it comes.

        Raises:
            TimeoutError: none are.
        """
        try:
            async with asyncio.timeout(timeout) as deadline:
                await self._turns.acquire()
        except TimeoutError:
            said = f"not sent within {timeout:g} s: {AT_ONCE} calls of this sink are under way"
            raise TimeoutError(said) from None
        return max(0.001, (deadline.when() or 0.0) - self._reacting.loop.time())
