"""SIGKILL at random moments: what was acknowledged is there, in order, with its ids."""

import random
import subprocess
import sys
from pathlib import Path

from tdbwatch.daemon.spool.sqlite import SqliteSpool

from .spool_kit import everything

_APPEND = """
import asyncio, sys
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.writer import Pace
from tdbwatch.plugin import Event

async def main():
    spool = SqliteSpool(sys.argv[1], pace=Pace(linger=0))
    await spool.open()
    spool.progress("sink")
    print("ready", flush=True)
    for turn in range(10_000):
        events = [Event.create("r", "e", [turn, n]) for n in range(7)]
        spool.append(heard(events))
        await spool.flush()
        sys.stdout.write("".join(event.id + "\\n" for event in events))
        sys.stdout.flush()
        spool.save("sink", spool.last_seq, {})

asyncio.run(main())
"""


def run_and_kill(path: Path, lines: int) -> list[str]:
    """The ids that a process acknowledged before it was killed, somewhere after so many lines."""
    with subprocess.Popen(
        [sys.executable, "-c", _APPEND, path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        acknowledged = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        acknowledged += process.stdout.readlines()
    assert process.returncode == -9
    return [line.strip() for line in acknowledged if line.endswith("\n")]


async def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    path, acknowledged = tmp_path / "spool.db", list[str]()
    for _ in range(4):
        acknowledged += run_and_kill(path, rng.randrange(1, 1500))
        spool = SqliteSpool(path)
        await spool.open()
        found = await everything(spool)
        assert spool.progress("sink").floor <= spool.last_seq
        await spool.close()
        ids = [entry.event.id for entry in found]
        wanted = set(acknowledged)
        assert [event_id for event_id in ids if event_id in wanted] == acknowledged, f"seed {seed}"
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
        assert len(set(ids)) == len(ids)
