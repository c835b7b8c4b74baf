"""Random fault schedules: a seed makes the whole run, faults, moments, lags and choices of nodes included."""

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from .faults import Fault
from .verdict import Verdict
from .world import World

SETTLED: Final = 2.0
"""Seconds after a recovery before the next fault, where one node at a time may fail."""


@dataclass(frozen=True)
class Step:
    """A fault, after so many seconds (or so long after the recovery from the one before).

    Attributes:
        which: of the nodes in use and not hurt, in turn, and then of the others.
    """

    after: float
    fault: Fault
    which: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"after {self.after:.3f} s: {self.fault.__name__} of node ({self.which}) for {self.seconds:.3f} s"
        )

    def node(self, world: World, hurt: Collection[int] = ()) -> int | None:
        """The node that it hurts; None if all are hurt already."""
        well = [n for n in range(len(world.nodes)) if n not in hurt]
        used = [n for n in world.in_use() if n in well]
        spare = [n for n in well if n not in used]
        first = used if self.which < len(used) or not spare else spare
        return first[self.which % len(first)] if first else None


@dataclass(frozen=True)
class Schedule:
    """One run."""

    seed: int
    nodes: int
    lag: float
    identical: bool
    ears: bool
    connections: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        head = (
            f"TDBWATCH_SEED={self.seed}  {self.nodes} nodes, lag {self.lag:.4f} s, "
            f"identical={self.identical}, ears={self.ears}, connections={self.connections}"
        )
        return "\n  ".join([head, *map(str, self.steps)])


def make(seed: int, kinds: tuple[Fault, ...], *, steps: int, hurry: bool) -> Schedule:
    """A schedule of its own for each seed.

    Args:
        hurry: a fault may begin before the one before is over.
    """
    rng = random.Random(seed)
    return Schedule(
        seed=seed,
        nodes=rng.choice([2, 3, 3]),
        lag=10 ** rng.uniform(-4, -0.7),
        identical=False,
        ears=rng.random() < 0.5,
        connections=2,
        steps=tuple(
            Step(
                after=_moment(rng) if hurry else rng.uniform(0, 1),
                fault=rng.choice(kinds),
                which=rng.choice([0, 0, 1, 1, 2]),
                seconds=10 ** rng.uniform(-2, 1.5),
            )
            for _ in range(steps)
        ),
    )


def _moment(rng: random.Random) -> float:
    return rng.choice([0.0, 0.0, 10 ** rng.uniform(-3, 0), rng.uniform(1, 20)])


async def one_at_a_time(schedule: Schedule) -> Verdict:
    """Each fault begins when the room is heard from two well nodes again."""
    async with _world(schedule) as world:
        around = asyncio.create_task(_emit_in_bursts(world), name="emits")
        for step in schedule.steps:
            await world.clock.sleep(step.after)
            number = step.node(world)
            assert number is not None
            await _hurt(world, step, number)
            await world.recovered()
            await world.clock.sleep(SETTLED)
        return await _end(world, around)


async def all_at_once(schedule: Schedule) -> Verdict:
    """Faults come when they come: several nodes may be hurt at a time, but never the same one twice."""
    async with _world(schedule) as world:
        around = asyncio.create_task(_emit_in_bursts(world), name="emits")
        hurting: dict[int, asyncio.Task[None]] = {}
        for step in schedule.steps:
            await world.clock.sleep(step.after)
            number = step.node(world, [n for n, task in hurting.items() if not task.done()])
            if number is not None:
                hurting[number] = asyncio.create_task(_hurt(world, step, number), name=str(step))
        await asyncio.gather(*hurting.values())
        await world.recovered()
        return await _end(world, around)


async def _hurt(world: World, step: Step, number: int) -> None:
    world.busy_until = world.clock.monotonic() + 0.3
    await step.fault(world, number, step.seconds)
    world.busy_until = world.clock.monotonic() + 0.3


def _world(schedule: Schedule) -> World:
    return World(
        schedule.seed,
        nodes=schedule.nodes,
        lag=schedule.lag,
        connections=schedule.connections,
        identical=schedule.identical,
        ears=schedule.ears,
    )


async def _emit_in_bursts(world: World) -> None:
    """Many emits around what happens to nodes and connections, few in between."""
    while True:
        world.emit()
        busy = world.clock.monotonic() < world.busy_until
        await world.clock.sleep(world.rng.expovariate(80 if busy else 2))


async def _end(world: World, emitting: asyncio.Task[None]) -> Verdict:
    await world.clock.sleep(1)
    emitting.cancel()
    await world.clock.sleep(1)
    return world.verdict()
