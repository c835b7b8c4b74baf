"""The merge against an oracle: random clusters, delays and faults in simulated time.

What is simulated is what is known of real nodes. An emit travels from the node that runs it to every node,
and from there to each link that joined there; both ways keep the order and have delays of their own, that
jitter and stall. A link hears what passes its node after its join, nothing after its death, late what came
while it was frozen, and after its node said SHUTTING_DOWN only what that node itself emits.

What the oracle demands: every emit that was heard on any link is passed on. Equal emits cannot be told apart,
so that means: they can be matched, each to a passing of its own, which is at most `SETTLE` seconds earlier
than the emit was first heard (a duplicate may stand for the next equal emit, but not for one of the far
future). Duplicates are what was passed on more often than heard, and the merge's text bounds them.
"""

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from tdbwatch.client.merging.merge import SETTLE, Merge

FACTOR: Final = int(os.environ.get("TDBWATCH_SOAK", "1"))
"""How many times as many schedules as usual."""
FREEZE_KEPT: Final = 15.0
"""Seconds after which a frozen link is dropped: the heartbeat's timeout."""
NEVER: Final = float("inf")


class Way:
    """A connection that keeps order: a delay of its own, with jitter, and stalls in which nothing passes."""

    def __init__(self, rng: random.Random, stalls: list[tuple[float, float]]) -> None:
        self.rng = rng
        self.base = 10 ** rng.uniform(-4, -2.3)  # 0.1 to 5 ms
        self.jitter = self.base * rng.choice([0.1, 1, 3])
        self.stalls = stalls
        self.last = 0.0

    def passes_at(self, now: float) -> float:
        at = now + self.base + self.rng.expovariate(1 / self.jitter)
        for start, end in self.stalls:
            if start <= at < end:
                at = end
        self.last = max(at, self.last + 1e-7)
        return self.last


@dataclass(eq=False)
class SimLink:
    """One link, and what happens to it when."""

    name: str
    node: int
    joins: float
    way: Way
    dies: float = NEVER
    leaves: float = NEVER
    freezes: float = NEVER
    thaws: float = NEVER

    def hears_at(self, passed: float) -> float:
        at = self.way.passes_at(passed)
        if self.freezes <= at < self.thaws:
            return self.thaws + (at - self.freezes) * 1e-3
        return max(at, self.thaws + (self.thaws - self.freezes) * 1e-3) if at >= self.thaws else at


@dataclass
class World:
    """A whole run: the emits, the links, and how long anything may stall."""

    rng: random.Random
    nodes: int = 3
    longest_stall: float = 0.3
    span: float = 0.0
    links: list[SimLink] = field(default_factory=list)
    emits: list[tuple[float, int, str]] = field(default_factory=list)

    def way(self) -> Way:
        stalls = []
        for _ in range(self.rng.choice([0, 0, 0, 1, 2])):
            start = self.rng.uniform(0, self.span)
            stalls.append((start, start + self.rng.uniform(0, self.longest_stall)))
        return Way(self.rng, stalls)

    def link(self, node: int, joins: float) -> SimLink:
        link = SimLink(f"link{len(self.links)}", node, joins, self.way())
        self.links.append(link)
        return link

    def emit(self, key: str, rate: float, start: float, end: float) -> None:
        """Emits from random nodes; a key that ends in '#' is made distinct by a number."""
        at = start
        while (at := at + self.rng.expovariate(rate)) < end:
            distinct = f"{key}{len(self.emits)}" if key.endswith("#") else key
            self.emits.append((at, self.rng.randrange(self.nodes), distinct))

    def happenings(self) -> Iterator[tuple[float, str, SimLink, int]]:
        """(time, what, link, index of the emit), unsorted."""
        self.emits.sort()
        passes = self._passes()
        for link in self.links:
            events = [(link.joins, "add", -1), *((at, "hear", i) for at, i in passes[link.node])]
            if link.leaves < NEVER:
                events.append((link.leaves, "leaving", -1))
            for at, what, index in sorted(events):
                cut = what == "hear" and at > link.leaves and self.emits[index][1] != link.node
                if at >= link.joins and not cut and (heard := link.hears_at(at)) < link.dies:
                    yield heard, what, link, index
            if link.dies < NEVER:
                yield link.dies, "remove", link, -1

    def _passes(self) -> dict[int, list[tuple[float, int]]]:
        ways = {(m, n): self.way() for m in range(self.nodes) for n in range(self.nodes)}
        passes: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for index, (at, emitter, _) in enumerate(self.emits):
            for node in range(self.nodes):
                passes[node].append((at if node == emitter else ways[emitter, node].passes_at(at), index))
        return passes


@dataclass
class Verdict:
    """What became of a run."""

    lost: dict[str, int]
    """By key, how many emits were not passed on."""
    doubled: dict[str, int]
    """By key, how many more were passed on than heard."""
    bound: int
    """The most that may be doubled."""
    keys: int
    heard: int


def run(world: World) -> Verdict:
    merge = Merge()
    hearings: dict[int, list[float]] = defaultdict(list)
    passed_on: dict[str, list[float]] = defaultdict(list)
    turns: list[float] = []
    for now, what, link, index in sorted(world.happenings(), key=lambda happening: happening[0]):
        if what == "hear":
            hearings[index].append(now)
            key = world.emits[index][2]
            if merge.receive(link.name, key, now):
                passed_on[key].append(now)
        else:
            turns.append(now)
            getattr(merge, what)(link.name, now)
    return judge(world, hearings, passed_on, turns)


def judge(
    world: World, hearings: dict[int, list[float]], passed_on: dict[str, list[float]], turns: list[float]
) -> Verdict:
    heard: dict[str, list[float]] = defaultdict(list)
    under_way: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for index, times in hearings.items():
        key = world.emits[index][2]
        heard[key].append(times[0])
        under_way[key] += [(times[0], 1), (times[-1], -1)]
    lost = {key: short for key, times in heard.items() if (short := unmatched(times, passed_on[key]))}
    doubled = {k: more for k, times in passed_on.items() if (more := len(times) - len(heard[k])) > 0}
    repeated = [sorted(under_way[key]) for key, times in heard.items() if len(times) > 1]
    bound = sum(most(changes, turn, turn + 2 * SETTLE) for turn in turns for changes in repeated)
    return Verdict(lost, doubled, bound, len(heard), len(hearings))


def most(changes: list[tuple[float, int]], start: float, end: float) -> int:
    """The most equal emits that were heard on one link and to be heard on another, at any time of a span."""
    now = highest = 0
    for at, change in changes:
        now += change
        if start <= at <= end:
            highest = max(highest, now)
    return highest


def unmatched(heard: list[float], passed_on: list[float]) -> int:
    """How many emits have no passing of their own, at most `SETTLE` seconds before they were first heard."""
    worst, at_or_after = 0, 0
    for count, at in enumerate(sorted(heard, reverse=True), start=1):
        while at_or_after < len(passed_on) and passed_on[-1 - at_or_after] >= at - SETTLE:
            at_or_after += 1
        worst = max(worst, count - at_or_after)
    return worst


# -- schedules -------------------------------------------------------------------------------------------


def fault(world: World, link: SimLink, at: float) -> tuple[SimLink, float]:
    """Something happens to a link; returns the link that takes its place, and when all is over."""
    rng, what = world.rng, world.rng.choice(["kill", "freeze", "thaw", "leave", "move"])
    if what == "thaw":
        link.freezes, link.thaws = at, at + rng.uniform(0.1, FREEZE_KEPT)
        return link, link.thaws
    node = rng.choice([n for n in range(world.nodes) if n != link.node] or [link.node])
    replaced = at + 10 ** rng.uniform(-3, 0)
    if what == "kill":
        link.dies = at
    elif what == "freeze":
        link.freezes, link.dies = at, at + FREEZE_KEPT
        replaced += FREEZE_KEPT
    else:
        link.dies = replaced + rng.uniform(0.5, 6)
        if what == "leave":
            link.leaves = at
    return world.link(node, replaced), max(replaced, link.dies)


def schedule(
    seed: int, keys: dict[str, float], *, live: int, faults: int, pause: float, begin: float = 0.0
) -> World:
    """Faults one after the other, each to any link, `pause` seconds apart; emits come around each."""
    rng = random.Random(seed)
    world = World(rng, nodes=rng.choice([2, 3, 4]), span=25.0 * faults)
    links = [world.link(n % world.nodes, rng.uniform(0, 0.01)) for n in range(live)]
    at = 8.0
    busy = [(begin, begin + 0.3)]
    for _ in range(faults):
        victim = rng.randrange(live)
        start = at + rng.uniform(0, 0.3)
        links[victim], over = fault(world, links[victim], start)
        busy += [
            (at - 0.2, at + 0.8),
            (links[victim].joins - 0.2, links[victim].joins + 0.7),
            (over - 0.1, over + 0.3),
        ]
        at = over + pause
    for start, end in merged(busy):
        for key, rate in keys.items():
            world.emit(key, rate, max(begin, start), end)
    for key, rate in keys.items():
        world.emit(key, rate / 50, begin, at + 2)
    return world


def merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def check(seed: int, world: World, *, doubled: bool) -> Verdict:
    verdict = run(world)
    assert verdict.lost == {}, f"seed {seed}"
    assert sum(verdict.doubled.values()) <= (verdict.bound if doubled else 0), f"seed {seed}"
    return verdict


@pytest.mark.parametrize("batch", range(4))
def test_distinct_emits_are_neither_lost_nor_doubled_whatever_faults_come_together(batch: int) -> None:
    for seed in range(batch * 150 * FACTOR, (batch * 150 + 60) * FACTOR):
        rng = random.Random(seed)
        pause, live = rng.choice([0.0, 0.3, 1.0, 7.0]), rng.choice([2, 3])
        verdict = check(
            seed, schedule(seed, {"#": 80}, live=live, faults=rng.choice([1, 2]), pause=pause), doubled=False
        )
        assert verdict.keys == verdict.heard > 50


@pytest.mark.parametrize("batch", range(4))
def test_equal_emits_are_not_lost_and_doubled_within_the_bound(batch: int) -> None:
    repetitions = 0
    for seed in range(batch * 150 * FACTOR, (batch * 150 + 60) * FACTOR):
        rng = random.Random(seed)
        keys = {"#": 80.0, "same": rng.choice([5.0, 20.0, 100.0]), "rare": 0.5}
        live, faults = rng.choice([2, 3]), rng.choice([1, 1, 2])
        world = schedule(seed, keys, live=live, faults=faults, pause=2 * SETTLE + 1, begin=0.4)
        verdict = check(seed, world, doubled=True)
        repetitions += verdict.heard - verdict.keys
    assert repetitions > 1000


def test_duplicates_among_equal_emits_are_rare() -> None:
    """The bound of a single run is wide where a link thaws or stalls; all runs together stay far below."""
    heard = doubled = 0
    for seed in range(100):
        keys = {"#": 80.0, "same": 20.0}
        verdict = run(schedule(seed, keys, live=2, faults=1, pause=2 * SETTLE + 1, begin=0.4))
        heard += verdict.heard
        doubled += sum(verdict.doubled.values())
    assert doubled < heard / 1000


@pytest.mark.parametrize("gap", [(0.8, 2.0), (2.0, 5.0)])
def test_a_rolling_replacement_under_steady_load_loses_nothing(gap: tuple[float, float]) -> None:
    for seed in range(25 * FACTOR):
        rng = random.Random(seed)
        world = World(rng, nodes=3, span=20.0)
        links = [world.link(n, 0.01 * n) for n in range(2)]
        at = 2.0
        for turn in range(3):
            old = links[turn % 2]
            free = next(n for n in range(3) if n not in {link.node for link in links})
            new = links[turn % 2] = world.link(free, at + rng.uniform(0.005, 0.5))
            what = rng.choice(["kill", "freeze", "leave"])
            old.leaves = at if what == "leave" else NEVER
            old.freezes = at if what == "freeze" else NEVER
            old.dies = {"kill": at, "freeze": at + FREEZE_KEPT, "leave": new.joins + 1.0}[what]
            at += rng.uniform(*gap)
        world.emit("same", rng.choice([20.0, 100.0]), 0.5, at + 2)
        world.emit("#", 80.0, 0.4, at + 2)
        check(seed, world, doubled=True)


def test_the_oracle_sees_losses_and_duplicates() -> None:
    assert unmatched([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 0
    assert unmatched([1.0, 2.0, 3.0], [1.0, 2.0]) == 1
    assert unmatched([1.0, 20.0], [1.0, 1.1]) == 1, "a duplicate stands for nothing that comes much later"
    world = schedule(1, {"#": 80, "same": 20.0}, live=2, faults=1, pause=7)
    hearings = {index: [at, at + 0.01] for index, (at, _, _) in enumerate(sorted(world.emits))}
    everything: dict[str, list[float]] = defaultdict(list)
    for at, _, key in sorted(world.emits):
        everything[key] += [at, at + 0.01]
    assert len(judge(world, hearings, everything, []).doubled) == len(everything)
    assert len(judge(world, hearings, defaultdict(list), []).lost) == len(everything)
