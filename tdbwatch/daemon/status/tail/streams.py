"""Answers that go on (server-sent events), and how many of them there may be."""

from collections import Counter
from typing import Final

from aiohttp import web

from tdbwatch.clock import Clock
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.status.tail import page
from tdbwatch.daemon.status.tail.filter import Filter
from tdbwatch.daemon.status.tail.look import Found

MAX_STREAMS: Final = 8
"""Streams at a time; each costs a little of the event loop's time."""
PATIENCE: Final = 5.0
"""Seconds for which somebody may read nothing before he is dropped."""
_ALIVE: Final = 10.0
"""Seconds after which something is said, if only to see whether anybody is there."""
_REPLACED: Final = "event: replaced\ndata: another page looks at events in place of this one\n\n"


class Stream:
    """One answer that goes on.

    Attributes:
        address: of the one who asks.
        is_replaced: whether another took its place, so that it has to end.
    """

    def __init__(self, request: web.Request, clock: Clock) -> None:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        self.response = web.StreamResponse(headers=headers)
        self.response.force_close()
        self.address = request.remote or ""
        self.is_replaced = False
        self._request = request
        self._clock = clock
        self._said_at = clock.monotonic()

    async def begin(self) -> None:
        await self.response.prepare(self._request)
        await self._send("retry: 1000\n\n")

    @property
    def is_over(self) -> bool:
        """Whether nobody listens any more."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    async def say(self, found: Found, wanted: Filter) -> bool:
        """Tell what was found; False: nobody reads it."""
        text = ""
        if found.unseen:
            text += f"id: {found.position}\nevent: unseen\ndata: {found.unseen:,}\n\n"
        if found.events:
            text += f"id: {found.position}\ndata: {page.rows(found.events, wanted)}\n\n"
        elif self._clock.monotonic() - self._said_at >= _ALIVE:
            text += f"id: {found.position}\nevent: alive\ndata: -\n\n"
        return not text or await self._send(text)

    async def say_why(self) -> None:
        """The last word of one that was replaced; who asks again at once would only replace the next."""
        await self._send(_REPLACED)

    async def _send(self, text: str) -> bool:
        """Whether it was read: who is slow is dropped, so nothing piles up."""
        self._said_at = self._clock.monotonic()
        try:
            await within(self._clock, PATIENCE, self.response.write(text.encode()))
        except (DeadlineError, ConnectionError):
            if (transport := self._request.transport) is not None:
                transport.abort()
            return False
        return True


class Streams:
    """Those that are open. Nobody can keep others out, and no address those of others."""

    def __init__(self) -> None:
        self._open: dict[Stream, None] = {}

    def enter(self, stream: Stream) -> None:
        """For one too many, the oldest of the address that has most is replaced."""
        self._open[stream] = None
        if len(self._open) > MAX_STREAMS:
            by_address = Counter(each.address for each in self._open)
            most = max(by_address.values())
            oldest = next(each for each in self._open if by_address[each.address] == most)
            oldest.is_replaced = True
            self.leave(oldest)

    def leave(self, stream: Stream) -> None:
        self._open.pop(stream, None)
