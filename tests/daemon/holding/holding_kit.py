"""A log in memory over which routes remember: it can be killed at any moment, and says what was durable."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.holding import Due, Holding
from tdbwatch.daemon.holding.trial import made
from tdbwatch.daemon.intake.causes import Silence
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, run_of
from tdbwatch.daemon.spool.stored.marks import Mark, Marks, load
from tdbwatch.daemon.spool.stored.notes import execute
from tdbwatch.plugin import Event
from tdbwatch.plugin.event import format_time

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
LANE = Lane("//stuff", "alerts")


def router(*routes: dict[str, Any], absences: Sequence[dict[str, Any]] = ()) -> Router:
    return Router.of_names(
        [RouteConfig.model_validate_json(json.dumps(route)) for route in routes],
        ["a", "b"],
        [AbsenceConfig.model_validate_json(json.dumps(absence)) for absence in absences],
    )


class Log:
    """A log in memory: what was appended, and what routes remember as of the last of it."""

    def __init__(
        self, *routes: dict[str, Any], absences: Sequence[dict[str, Any]] = (), **bounds: Any
    ) -> None:
        self.routes = routes
        self.absences = absences
        self.bounds = bounds
        self.durable: list[Heard] = []
        self.silence: Silence | None = None
        self.at = 0.0
        self.restart()

    def restart(self, *, keep: int | None = None, at: float | None = None) -> None:
        """As after a kill that lost all but so many of what was appended."""
        self.durable = self.durable[:keep]
        self.at = self.at if at is None else at
        self.router = router(*self.routes, absences=self.absences)
        self.holding = Holding(self.router, made, lambda: {LANE: self.silence}, **self.bounds)
        self.holding.load(left(self.all_marks()), self.now_us)

    def reload(self) -> None:
        """Take up the routes as they are now."""
        self.tell(self.at)
        self.router = router(*self.routes, absences=self.absences)
        self._keep(self.holding.change(self.router, self.now_us))

    def all_marks(self) -> list[Mark]:
        return [mark for _, run in self.durable for mark in run.marks]

    @property
    def now_us(self) -> int:
        return START + int(self.at * SECOND)

    @property
    def now_text(self) -> str:
        """As records have it."""
        return format_time(self.now_us)

    def hear(self, at: float, *args: Any, event: str = "x", **others: Any) -> None:
        """An event so many seconds after the start."""
        self.at = at
        made = Event.create("alerts", event, args, received_us=self.now_us, **others)
        self.append([(LANE, run_of(made))])

    def append(self, events: list[Heard]) -> None:
        self.durable += self.holding.heard(events)

    def tell(self, at: float) -> None:
        self.at = at
        self._keep(self.holding.due(self.now_us))

    def _keep(self, due: Due) -> None:
        self.durable += due.heard
        if due.marks:  # beside events, and after them
            nothing = Run(b"", 0, "marks", None, (), [], [], marks=tuple(due.marks))
            self.durable.append((LANE, nothing))

    def events(self) -> list[Event]:
        return [event for lane, run in self.durable if run.events for event in run.unpacked(lane)]

    def got(self, sink: str = "a") -> list[Event]:
        """What the sink gets."""
        wants = self.router.matcher(sink)
        return [got for event in self.events() if (got := wants.with_fields(event)) is not None]

    def passed(self, sink: str = "a") -> list[tuple[float, Any]]:
        """When and with what the sink gets events."""
        got = [event for event in self.got(sink) if event.kind == "event"]
        return [((event.received_us - START) / SECOND, event.args[0]) for event in got]

    def told(self, kind: str = "suppressed") -> list[dict[str, Any]]:
        return [event.record() for event in self.events() if event.kind == kind]


def left(marks: Iterable[Mark]) -> list[Mark]:
    """What the table of marks holds in the end."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE marks(route, key, part, state, PRIMARY KEY(route, key, part))")
        execute(connection, Marks(list(marks)).writes())
        return load(connection)
