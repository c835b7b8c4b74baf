"""The addresses of the last events: a page, and a stream of those that come (server-sent events)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from tdbwatch.clock import Clock
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.spool.api import SpoolError
from tdbwatch.daemon.status.port.guard import Guard
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.tail import page
from tdbwatch.daemon.status.tail.filter import Filter, FilterError, asked
from tdbwatch.daemon.status.tail.look import Found, Log, after, latest

MAX_STREAMS: Final = 8
"""Streams at a time; each costs a little of the event loop's time."""
STREAM_LIFE: Final = 50.0
"""Seconds after which a stream ends; browsers ask for the rest at once. Connections live little longer."""
TICK: Final = 0.25
"""Seconds between two looks at the log."""
PATIENCE: Final = 5.0
"""Seconds for which somebody may read nothing before he is dropped, and that the disk may take."""
_ALIVE: Final = 10.0
"""Seconds after which something is said, if only to see whether anybody is there."""
_FULL: Final = "503 too many streams of events are open\n"
_NO_POSITION: Final = "400 after, or the header Last-Event-ID, must be the number of an entry\n"
_UNREADABLE: Final = "The spool cannot be read now; the log says why."


class TailAnswers:
    """Shows events.

    Args:
        log: where they are.
        glance: the daemon as it is now, from memory alone.
        guard: knows whether what they carry may be shown.
    """

    def __init__(self, log: Log, glance: Callable[[], Snapshot], guard: Guard, clock: Clock) -> None:
        self._log = log
        self._glance = glance
        self._guard = guard
        self._clock = clock
        self._streams = 0
        self._ended = asyncio.Event()

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tail", self.page)
        router.add_get("/tail/stream", self.stream, allow_head=False)

    def end(self) -> None:
        """End all streams at once, and begin no more."""
        self._ended.set()

    async def page(self, request: web.Request) -> web.Response:
        """The last events that the filter in the query wants."""
        try:
            wanted, trouble = self._filter(request), ""
        except FilterError as error:
            wanted, trouble = Filter(sees_contents=self._guard.has_token), str(error)
        found = Found([], self._log.last_seq)
        if not trouble:
            try:
                found = await within(self._clock, PATIENCE, latest(self._log, wanted))
            except (SpoolError, ValueError, DeadlineError):
                trouble = _UNREADABLE
        shown = (wanted, found.events, found.position, trouble, asked(request.query) if trouble else {})
        text = page.render(self._glance(), *shown)
        return web.Response(text=text, content_type="text/html", status=400 if trouble else 200)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """What comes behind the entry that is named, as it comes."""
        try:
            wanted = self._filter(request)
        except FilterError as error:
            return web.Response(status=400, text=f"400 {error}\n")
        try:
            position = int(request.headers.get("Last-Event-ID") or request.query.get("after") or -1)
        except ValueError:
            return web.Response(status=400, text=_NO_POSITION)
        if self._streams >= MAX_STREAMS or self._ended.is_set():
            return web.Response(status=503, text=_FULL, headers={"Retry-After": "30"})
        self._streams += 1
        try:
            return await self._run(request, wanted, position)
        finally:
            self._streams -= 1

    def _filter(self, request: web.Request) -> Filter:
        return Filter.of(request.query, sees_contents=self._guard.has_token)

    async def _run(self, request: web.Request, wanted: Filter, position: int) -> web.StreamResponse:
        stream = _Stream(request, self._clock)
        await stream.begin()
        position = self._log.last_seq if position < 0 else position
        until = self._clock.monotonic() + STREAM_LIFE
        while not (self._ended.is_set() or stream.is_over) and self._clock.monotonic() < until:
            with suppress(SpoolError, ValueError, DeadlineError):  # the spool itself says what is wrong
                found = await within(self._clock, PATIENCE, after(self._log, position, wanted))
                position = found.position
                if not await stream.say(found, wanted):
                    break
            with suppress(DeadlineError):
                await within(self._clock, TICK, self._ended.wait())
        return stream.response


class _Stream:
    """One answer that goes on."""

    def __init__(self, request: web.Request, clock: Clock) -> None:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        self.response = web.StreamResponse(headers=headers)
        self.response.force_close()
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
