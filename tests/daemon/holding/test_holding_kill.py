"""SIGKILL at random moments of routes that remember. The oracle reads the file, and knows the promises."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.plugin import Event

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
COUNT, PER, MAX, AFTER = 3, 20, 5, 8

_LIFE = """
import asyncio, random, sys
from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.holding import Holding
from tdbwatch.daemon.holding.trial import made
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.writer import Pace
from tdbwatch.plugin import Event

path, now_us, seed, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), len(sys.argv) > 4
routes = [
    {"match": {"event": "t"}, "throttle": {"count": 3, "per": "20s", "key": "args[0]"}, "to": ["a"]},
    {"match": {"event": "g"}, "group": {"wait": "9s", "max": 5, "key": "args[0]"}, "to": ["a"]},
]
absence = {"name": "beat", "match": {"event": "b"}, "after": "8s", "to": ["a"]}
router = Router.of_names(
    [RouteConfig.model_validate(one) for one in routes], ["a"], [AbsenceConfig.model_validate(absence)]
)
rng = random.Random(seed)

async def main():
    global now_us
    spool = SqliteSpool(path, Limits(max_size=1 << 28, max_age=1e9), pace=Pace(linger=0))
    await spool.open()
    spool.progress("a")
    holding = Holding(router, made)
    holding.load(await spool.marks(), now_us)

    def let_pass(seconds):
        global now_us
        now_us += int(seconds * 1e6)
        due = holding.due(now_us)
        spool.append(due.heard)
        spool.remember(due.marks)

    print("ready", flush=True)
    if last:
        for _ in range(3):
            let_pass(100)
    for turn in range(0 if last else 20_000):
        events = [
            Event.create(rng.choice("xyz"), rng.choice("ttggb" if turn % 40 > 9 else "tg"),
                [rng.choice("kj"), "-" * rng.choice((1, 1, 20_000))], received_us=now_us)
            for _ in range(rng.randrange(6))
        ]
        spool.append(holding.heard(heard(events)))
        let_pass(rng.choice((0.01, 0.3, 2)))
        if not turn % 7:
            await spool.flush() if rng.random() < 0.5 else await asyncio.sleep(0)
            sys.stdout.write(".")
            sys.stdout.flush()
    await spool.close()

asyncio.run(main())
"""


def live(path: Path, now_us: int, rng: random.Random, *last: str) -> None:
    """A life of a process; it is killed somewhere, unless it is the last one."""
    arguments = [sys.executable, "-c", _LIFE, path, str(now_us), str(rng.getrandbits(32)), *last]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if not last:
            process.stdout.read(rng.randrange(1, 60))
            process.kill()
    assert process.returncode == (0 if last else -9)


async def events_of(path: Path) -> list[Event]:
    spool = SqliteSpool(path, Limits(max_size=1 << 28, max_age=1e9))
    await spool.open()
    found, after = list[Event](), 0
    while blocks := await spool.read(after, 1 << 22):
        found += [event for block in blocks for event in block.events]
        after = blocks[-1].last_seq
    assert [mark for mark in await spool.marks() if not mark.route.startswith("absence")] == []
    await spool.close()
    return found


def test_whatever_is_killed_nothing_is_lost_nor_beyond_the_bound_nor_told_twice(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    rng, path, now_us = random.Random(seed), tmp_path / "spool.db", START
    for _ in range(3):
        live(path, now_us, rng)
        now_us += 100_000 * SECOND
    live(path, now_us, rng, "last")
    events = asyncio.run(events_of(path))
    note = f"seed {seed}"

    grouped = [event.id for event in events if event.event == "g"]
    told = [event.details for event in events if event.kind == "group"]
    assert Counter(one["id"] for each in told for one in each["members"]) == Counter(grouped), note
    assert all(each["count"] <= MAX for each in told), note
    assert grouped, note

    throttled = [event for event in events if event.event == "t"]
    for key in "kj":
        passed = [e.received_us for e in throttled if not e.held and e.args[0] == key]
        for first, beyond in zip(passed, passed[COUNT:], strict=False):
            assert beyond - first >= PER * SECOND, note
    held = sum(bool(event.held) for event in throttled)
    assert sum(event.details["count"] for event in events if event.kind == "suppressed") == held > 0, note

    over = [event.details["over"] for event in events if event.kind == "absence"]
    assert over == [bool(n % 2) for n in range(len(over))], note
    assert len(over) > 1, note
