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
from tdbwatch.daemon.status.tail.streams import PATIENCE, Stream, Streams

STREAM_LIFE: Final = 50.0
"""Seconds after which a stream ends; browsers ask for the rest at once. Connections live little longer."""
TICK: Final = 0.25
"""Seconds between two looks at the log."""
_STOPPING: Final = "503 tdbwatch is about to stop\n"
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
        self._streams = Streams()
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
        if self._ended.is_set():
            return web.Response(status=503, text=_STOPPING, headers={"Retry-After": "30"})
        stream = Stream(request, self._clock)
        self._streams.enter(stream)
        try:
            await self._run(stream, wanted, position)
        finally:
            self._streams.leave(stream)
        return stream.response

    def _filter(self, request: web.Request) -> Filter:
        return Filter.of(request.query, sees_contents=self._guard.has_token)

    async def _run(self, stream: Stream, wanted: Filter, position: int) -> None:
        await stream.begin()
        position = self._log.last_seq if position < 0 else position
        until = self._clock.monotonic() + STREAM_LIFE
        while not (self._ended.is_set() or stream.is_over) and self._clock.monotonic() < until:
            if stream.is_replaced:
                await stream.say_why()
                break
            with suppress(SpoolError, ValueError, DeadlineError):  # the spool itself says what is wrong
                found = await within(self._clock, PATIENCE, after(self._log, position, wanted))
                position = found.position
                if not await stream.say(found, wanted):
                    break
            with suppress(DeadlineError):
                await within(self._clock, TICK, self._ended.wait())
