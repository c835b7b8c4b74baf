"""A courier against the promises, whatever the sink does and whenever either dies.

The sink does random things for a while, with random stops and crashes; then it works. A crash goes on with
what was durable at that moment: of a spool in memory, and of a real one's files.
"""

import asyncio
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.couriers import BatchLimits, Courier, CourierSettings
from tdbwatch.daemon.couriers.answer import VerdictError, judge
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import InlineHost
from tdbwatch.daemon.spool.api import Behind, DeadLetter
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.daemon.spool.writer import Pace
from tdbwatch.plugin import DELIVERED, Event, Kind, Rejected, Retry, Sink, SinkContext
from tdbwatch.plugin.sink import Verdict
from tdbwatch.testing import ManualClock, settle
from tests.daemon.spool.memory_spool_kit import Disk, MemorySpool
from tests.daemon.spool.spool_kit import as_killed

ORDERS: list[Callable[[Event], str] | None] = [
    None,
    None,
    lambda event: str(int(event.event) % 3),
    lambda event: event.id,
]
"""Of the room, of three keys in it, and none."""
KINDS = [Kind.EVENT, Kind.EVENT, Kind.EVENT, Kind.GAP, Kind.ROOM, Kind.NODE]
TIMEOUT = 5.0


@dataclass
class Story:
    """What happened, over all lives: the oracle."""

    emitted: list[Event] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    """(`taken`, `refused` or `dead`, the event's id), in order."""
    failed: Counter[str] = field(default_factory=Counter)
    """Attempts that count, by the event's id."""
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    saved: set[str] = field(default_factory=set)
    """The ids of what was saved as finished in this life, or durably."""
    repeated: set[str] = field(default_factory=set)
    """What of that was offered all the same."""

    @property
    def finished(self) -> set[str]:
        return {event_id for what, event_id in self.log if what != "refused"}


class Chaotic(Sink):
    """Does something at random with each batch, until it is mended."""

    def __init__(self, story: Story, rng: random.Random, clock: ManualClock) -> None:
        super().__init__(None, SinkContext("sink"))
        self.order: Callable[[Event], str] | None = None
        self.story = story
        self.rng = rng
        self.clock = clock
        self.works = False

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        if self.works or self.rng.random() < 0.3:
            return self.take(batch, [DELIVERED] * len(batch))
        await self.clock.sleep(self.rng.choice([0, 0, 1, TIMEOUT - 1, TIMEOUT + 1]))
        way = self.rng.choice(["list", "list", "list", "one", "raise", "nonsense", "took and raised"])
        if way == "raise":
            raise OSError("down")
        if way == "took and raised":
            self.take(batch, [DELIVERED] * len(batch))
            raise OSError("the answer was lost")
        if way == "nonsense":
            return cast("Verdict", self.rng.choice([7, "ok", [], {}, Retry(cast("Any", None))]))
        if way == "one":
            return self.take(batch, [self.outcome()] * len(batch))[0]
        return self.take(batch, self.outcomes(batch[: self.rng.randint(1, len(batch))]))

    def outcomes(self, batch: Sequence[Event]) -> list[Any]:
        """Once it refuses an event for now, it takes none of what keeps its order with that."""
        refused: set[tuple[str, str]] = set()
        outcomes: list[Any] = []
        for event in batch:
            outcome = self.outcome()
            place = place_of(event, self.order)
            if place in refused and outcome is DELIVERED:
                outcome = Retry("behind another")
            if isinstance(outcome, Retry):
                refused.add(place)
            outcomes.append(outcome)
        return outcomes

    def outcome(self) -> Any:
        pause = Retry("gone", after=self.rng.choice([None, 1e-9, 100]), pause=True)
        return self.rng.choice(
            [DELIVERED, DELIVERED, Retry("busy"), Retry("later", after=7), Rejected("bad"), pause]
        )

    def take(self, batch: Sequence[Event], outcomes: list[Any]) -> list[Any]:
        for event, outcome in zip(batch, outcomes, strict=False):
            if not isinstance(outcome, Retry):
                self.story.log.append(("taken" if outcome is DELIVERED else "refused", event.id))
        return outcomes


def place_of(event: Event, order: Callable[[Event], str] | None) -> tuple[str, str]:
    """What keeps its order with this event."""
    return event.room, "" if order is None else order(event)


class Watched(InlineHost):
    """Counts what the courier got to hear."""

    story: Story

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        ids = [event.id for event in batch]
        self.story.repeated |= set(ids) & self.story.saved
        try:
            verdict = await super().deliver(batch)
            outcomes = judge(verdict, len(ids)) or [DELIVERED] * len(ids)
        except VerdictError:
            self.story.failed.update(ids)
            return verdict
        except Exception:
            self.story.failed.update(ids)
            raise
        if not any(isinstance(outcome, Retry) and outcome.pause for outcome in outcomes):
            tried = [one for one, o in zip(ids, outcomes, strict=True) if isinstance(o, Retry)]
            self.story.failed.update(tried)
        return verdict


class Recording:
    """Tells the story of dead letters."""

    story: Story
    over = False
    """It crashed: nobody sees any more what it does."""

    def buried(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters if not self.over else ():
            self.story.log.append(("dead", letter.entry.event.id))
            self.story.letters[letter.entry.event.id] = letter


class RecordingMemory(Recording, MemorySpool):
    """Checks what is saved; it is not durable with every commit, but dead letters are at once."""

    rng: random.Random

    async def dead_letter(
        self, sink: str, floor: int, changed: Mapping[Lane, Behind | None], letters: Sequence[DeadLetter]
    ) -> None:
        self.buried(letters)
        await super().dead_letter(sink, floor, changed, letters)

    def save(self, sink: str, floor: int, changed: Mapping[Lane, Behind | None]) -> None:
        super().save(sink, floor, changed)
        if self.over:
            return
        self.story.saved |= self.finished(sink)
        assert self.finished(sink) <= self.story.finished, "what is unfinished was saved as finished"

    async def flush(self) -> None:
        if self.rng.random() < 0.3:
            self.commit()

    def finished(self, sink: str) -> set[str]:
        """What is saved as finished, durable or not."""
        progress = self.latest(sink)
        return {
            event.id
            for block in self.disk.blocks
            for seq, event in block.numbered()
            if progress.finished(seq, block.lane)
        }


class RecordingFile(Recording, SqliteSpool):
    """A real one."""

    async def dead_letter(
        self, sink: str, floor: int, changed: Mapping[Lane, Behind | None], letters: Sequence[DeadLetter]
    ) -> None:
        await super().dead_letter(sink, floor, changed, letters)
        self.buried(letters)


class World:
    """One spool and one courier over it, several times."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.disk = Disk()
        self.clock = ManualClock()
        self.story = Story()
        self.sink = Chaotic(self.story, rng, self.clock)
        self.policy = RetryPolicy(
            initial=1,
            factor=rng.choice([1, 2]),
            maximum=20,
            jitter=rng.choice([0, 0.5]),
            max_attempts=rng.choice([None, 1, 2, 3, 5]),
            max_age=None,
        )
        self.settings = CourierSettings(
            "sink",
            batch=BatchLimits(rng.randint(1, 6), rng.choice([1, 1500, 1 << 20]), rng.choice([0, 0, 3])),
            retry=self.policy,
            max_in_flight=rng.randint(1, 4),
            order=rng.choice(ORDERS),
            on_exhausted=rng.choice(["dead_letter", "dead_letter", "block"]),
            max_ahead=rng.choice([4, 20, 2000]),
            breaker_threshold=rng.choice([1, 5]),
        )
        self.sink.order = self.settings.order
        self.rooms = "abcd"[: rng.randint(1, 4)]
        self.crashes = rng.random() < 0.6
        self.crashed = False

    async def begin(self) -> None:
        """A life."""
        self.spool = await self.opened()
        self.spool.story = self.story
        self.read_letters()
        host = Watched(lambda: self.sink, name="sink", timeout=TIMEOUT, clock=self.clock)
        host.story = self.story
        self.courier = Courier(
            self.settings, host, self.spool, lambda event: True, self.clock, random.Random(self.rng.random())
        )
        self.task = self.courier.start()

    async def opened(self) -> Any:
        """The spool, over what is durable; the story knows what is finished by it."""
        spool = RecordingMemory(self.disk)
        spool.rng = self.rng
        self.story.saved = spool.finished("sink")
        return spool

    def letters(self) -> list[DeadLetter]:
        """The dead letters that are durable."""
        return self.disk.letters

    def read_letters(self) -> None:
        """Some may have become durable when nobody waited for them any more."""
        letters = Counter(letter.entry.event.id for letter in self.letters())
        assert max(letters.values(), default=1) == 1, "no event gets two letters"
        for letter in self.letters():
            if ("dead", letter.entry.event.id) not in self.story.log:
                self.story.log.append(("dead", letter.entry.event.id))

    async def stop(self) -> None:
        stopping = asyncio.create_task(self.courier.stop(self.rng.choice([0, 0, 3])))
        while not stopping.done():
            await self.clock.advance(0.5)
        await stopping
        await self.spool.close()

    async def crash(self) -> None:
        """Everything is gone but what is durable; what the old objects still do is not seen any more."""
        self.crashed = self.spool.over = True
        await self.lose()
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def lose(self) -> None:
        """Keep what is durable now."""
        self.disk = self.disk.copy()

    async def emit(self) -> None:
        room = self.rng.choice(self.rooms)
        events = [
            Event.create(room, str(len(self.story.emitted) + n), kind=self.rng.choice(KINDS))
            for n in range(self.rng.randint(1, 6))
        ]
        self.story.emitted += events
        self.spool.append(heard(events))
        await self.spool.flush()

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.spool.flush()
        await settle()
        assert not self.task.done(), self.task.exception()

    async def live(self) -> None:
        await self.begin()
        for _ in range(self.rng.randint(5, 25)):
            match self.rng.choice(["emit", "emit", "pass", "pass", "pass", "stop", "crash"]):
                case "emit":
                    await self.emit()
                case "pass":
                    await self.pass_time(self.rng.choice([0.5, 2, 10, 100]))
                case "stop":
                    await self.stop()
                    await self.begin()
                case "crash" if self.crashes:
                    await self.crash()
                    await self.begin()
        await self.heal()
        await self.stop()
        self.read_letters()

    async def heal(self) -> None:
        self.sink.works = True
        caught_up = asyncio.create_task(self.courier.caught_up())
        async with asyncio.timeout(60):  # a real spool's threads take their time
            while not caught_up.done():
                await self.pass_time(60)


class FileWorld(World):
    """Over a real spool."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        super().__init__(rng)
        self.folder = folder
        self.lives = 0

    @property
    def path(self) -> Path:
        return self.folder / str(self.lives) / "spool.db"

    async def opened(self) -> Any:
        spool = RecordingFile(self.path, sinks=["sink"], clock=self.clock, pace=Pace(linger=0))
        await spool.open()
        with opened(self.path) as look:
            unfinished = {entry.event.id for entry in look.log.unfinished(Selection(), "sink")}
        self.story.saved = {event.id for event in self.story.emitted} - unfinished
        return spool

    def letters(self) -> list[DeadLetter]:
        with opened(self.path) as look:
            return list(look.letters.some(Selection()))

    async def lose(self) -> None:
        old = self.path
        self.lives += 1
        self.path.parent.mkdir(parents=True)
        as_killed(old, self.path)

    async def crash(self) -> None:
        old = self.spool
        await super().crash()
        await old.close()


def check(world: World) -> None:
    story, most = world.story, world.policy.max_attempts
    assert story.finished == {event.id for event in story.emitted}
    assert not story.repeated, "what was saved as finished comes no more"
    check_order(world)
    for event_id, letter in story.letters.items():
        if letter.reason.startswith("gave up"):
            assert most is not None
            assert world.settings.on_exhausted == "dead_letter"
            assert story.failed[event_id] >= most, "no attempt is lost"
    if most is not None and world.settings.on_exhausted == "dead_letter" and not world.crashed:
        assert max(story.failed.values(), default=0) <= most, "no attempt too many"


def check_order(world: World) -> None:
    story, crashed, order = world.story, world.crashed, world.settings.order
    numbers = {event.id: (place_of(event, order), number) for number, event in enumerate(story.emitted)}
    newest: dict[tuple[str, str], int] = defaultdict(lambda: -1)
    seen: dict[str, set[str]] = defaultdict(set)
    for what, event_id in story.log:
        place, number = numbers[event_id]
        if what == "taken":
            assert event_id not in seen["dead"], "delivered after it was a dead letter"
            assert crashed or event_id not in seen["refused"], "only a crash undoes a refusal"
            first = event_id not in seen["taken"] | seen["refused"] | seen["dead"]
            assert not first or number > newest[place], "first deliveries are in order"
            newest[place] = max(newest[place], number)
        seen[what].add(event_id)


class Picky(Chaotic):
    """Never takes some events, and says so, or raises if they are alone; it takes all others."""

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        if self.works or not all(event.event.startswith("sick") for event in batch):
            sick = [not self.works and event.event.startswith("sick") for event in batch]
            return self.take(batch, [Retry("no") if one else DELIVERED for one in sick])
        if self.rng.random() < 0.5:
            raise OSError("HTTP 500")
        return [Retry("no")] * len(batch)


class SickRooms(World):
    """Any number of rooms are sick, but fewer batches of these come in a row than the breaker's threshold.

    Or any number of keys in one room. After a crash what comes again may be as many in a row: then the sink
    looks sick as a whole, and all wait.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.sink = Picky(self.story, rng, self.clock)
        self.policy = replace(self.policy, max_attempts=None)
        batch = replace(self.settings.batch, max_bytes=1 << 20, wait=0)
        self.settings = replace(
            self.settings, retry=self.policy, batch=batch, breaker_threshold=5, max_ahead=2000
        )
        self.keyed = rng.random() < 0.5
        self.sink.order = (lambda event: event.event) if self.keyed else None
        self.settings = replace(self.settings, order=self.sink.order)

    def event(self, name: str) -> Event:
        return Event.create("all" if self.keyed else name, name)

    async def emit(self) -> None:
        """A burst of sick ones now and then, then healthy ones: these are delivered at once."""
        count = self.rng.randint(1, 4 * self.settings.batch.count) if self.rng.random() < 0.3 else 0
        events = [self.event(f"sick{self.rng.randrange(30)}") for _ in range(count)]
        await self.append(events)
        well = [self.event(f"well{self.rng.randrange(9)}") for _ in range(self.rng.randint(1, 3))]
        await self.append(well)
        assert self.all_wait or {event.id for event in well} <= self.story.finished, self.courier.status()

    @property
    def all_wait(self) -> bool:
        """Whether so many failed in a row that nothing is tried for a while."""
        holds = self.courier._health.breaker.untried_hold_until > self.clock.monotonic()
        assert not holds or self.crashed
        return holds

    async def append(self, events: list[Event]) -> None:
        self.story.emitted += events
        self.spool.append(heard(events))
        await self.spool.flush()
        await self.caught_up()

    async def caught_up(self) -> None:
        """No time passes until the courier has read what there is, and has done what it can do now."""
        while self.courier._lanes.position < self.spool.last_seq and not self.all_wait:
            await self.clock.advance(0)
        await settle()


@pytest.mark.timeout(180)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32))
def test_healthy_rooms_and_keys_never_wait_for_sick_ones_whatever_stops_or_crashes(seed: int) -> None:
    with structlog.testing.capture_logs():
        world = SickRooms(random.Random(seed))
        asyncio.run(world.live())
        check(world)


@pytest.mark.timeout(180)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32))
def test_a_real_spool_keeps_the_same_promises(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, structlog.testing.capture_logs():
        world = FileWorld(random.Random(seed), Path(folder))
        asyncio.run(world.live())
        check(world)


@pytest.mark.timeout(180)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32))
def test_every_event_ends_once_and_in_order_whatever_the_sink_does(seed: int) -> None:
    with structlog.testing.capture_logs():
        world = World(random.Random(seed))
        asyncio.run(world.live())
        check(world)
