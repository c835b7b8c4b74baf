"""A small emit of our own that must come back on every link: proof that delivery lives, not just sockets."""

import uuid
from typing import Any, Final

import structlog

from tdbwatch.client import Client
from tdbwatch.client.links.link import Link
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import ThingsDBConfig
from tdbwatch.daemon.tasks import Tasks
from tdbwatch.exceptions import ConnectionLostError, ThingsDBError
from tdbwatch.redaction import presentable
from tdbwatch.wire import RawEmit
from tdbwatch.wire.codec import decode_leniently

EVENT: Final = "tdbwatch-canary"


class Canary:
    """Emits now and then, and gives up on links that do not deliver it in time.

    Its room should be used for nothing else: whoever else joined it hears the canary too.
    """

    def __init__(
        self, client: Client, room: str, scope: str, interval: float, timeout: float, clock: Clock
    ) -> None:
        self.subscription = Subscription(room, scope, self, each_link=self._heard)
        self.failures = 0
        """Links that were given up because the canary did not come back."""
        self.not_emitted = ""
        """Why it could not be emitted last; empty: it could."""
        self._client = client
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        self._name = str(uuid.uuid4())  # several daemons may use one room
        self._song = 0
        self._lost = ""
        self._alone = True
        self._missing: set[Link] = set()
        self._log = structlog.get_logger("tdbwatch.canary").bind(room=room, scope=scope)

    async def run(self) -> None:
        """Sing for ever."""
        while True:
            await self._clock.sleep(self._interval)
            if self.subscription.links:
                await self._sing()

    async def _sing(self) -> None:
        self._song += 1
        self._missing = {link for link in self.subscription.links if not link.leaving}
        song = (self._name, self._song)
        try:
            await self._client.emit(
                str(self.subscription.key),
                EVENT,
                *song,
                scope=self.subscription.scope,
                timeout=self._timeout,
            )
        except (
            ThingsDBError,
            OSError,
        ) as error:  # says nothing of the links: the emitting one may be at fault
            self._tell_of_emitting(presentable(str(error)))
            return
        self._tell_of_emitting("")
        await self._clock.sleep(self._timeout)
        for link in self._missing:
            if link.is_live:
                self.failures += 1
                link.abort(ConnectionLostError(f"the canary did not come back within {self._timeout:g} s"))

    def _heard(self, link: Link, emit: RawEmit) -> None:
        if emit.event != EVENT:
            return
        name, *rest = decode_leniently(bytes(emit.args)) or [None]
        if name != self._name:
            self._tell_of_another()
        elif rest == [self._song]:
            self._missing.discard(link)

    def _tell_of_another(self) -> None:
        """The one sign by which two daemons with the same rooms can know of each other."""
        if self._alone:
            self._alone = False
            self._log.warning(
                "canary.another",
                remedy="if another tdbwatch has the same rooms and sinks, each event is delivered twice,"
                " under different ids: stop one of them; else give each a canary room of its own",
            )

    def _lose(self, reason: str) -> None:
        """It has no room: said once for each reason, however often the room is tried."""
        if reason != self._lost:
            self._lost = reason
            self._log.warning("canary.no_room", reason=reason, remedy="make its room; it is joined by itself")

    def _tell_of_emitting(self, error: str) -> None:
        before, self.not_emitted = self.not_emitted, error
        if error and not before:
            self._log.warning("canary.not_emitted", error=error)
        elif before and not error:
            self._log.info("canary.emitted_again")

    # -- RoomListener ------------------------------------------------------------------------------------

    def deliver(self, emit: Any) -> None:
        """Nothing: every link is heard by itself."""

    def room_joined(self, room_id: int) -> None:
        again, self._lost = bool(self._lost), ""
        self._log.info("canary.back" if again else "canary.joined", room_id=room_id)

    def room_deleted(self) -> None:
        self._lose("the room was deleted")

    def room_unjoinable(self, error: Exception) -> None:
        self._lose(presentable(str(error)))

    def room_unheard(self, reason: str, since: float) -> None:
        """Nothing to do: it sings again when a link joins."""

    def room_heard(self) -> None:
        """Nothing to do."""


class Singing:
    """The canary that the configuration wants, which may change.

    Attributes:
        now: it; None: none is wanted.
    """

    def __init__(self, client: Client, tasks: Tasks, clock: Clock) -> None:
        self.now: Canary | None = None
        self._client = client
        self._tasks = tasks
        self._clock = clock

    async def take_up(self, config: ThingsDBConfig) -> None:
        """Have the one that is wanted here, instead of the one that there is."""
        self._tasks.end("canary")
        if self.now is not None:
            self._client.discard(self.now.subscription)
            self.now = None
        if (wanted := config.canary) is not None:
            scope, pace = wanted.scope or config.scope, (wanted.interval, wanted.timeout)
            self.now = canary = Canary(self._client, wanted.room, scope, *pace, self._clock)
            self._tasks.begin("canary", canary.run())
            await self._client.subscribe(canary.subscription)
