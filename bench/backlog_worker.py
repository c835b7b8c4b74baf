"""The whole daemon with many rooms, of which a sink takes nothing of some."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.daemon_worker import config_text, started, until
from bench.measure import options, peak_rss, ready, report

STARTED: Final = time.perf_counter()
_PLUGIN: Final = """\
import os
from tdbwatch.plugin import DELIVERED, Retry, Sink, sink

SICK = {sick}
FILE = os.open("{taken}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@sink("choosy", batch_count=2_000)
class Choosy(Sink):
    async def deliver(self, batch):
        sick = [event.kind == "event" and int(event.room.removeprefix("room")) < SICK for event in batch]
        ids = [event.id for event, no in zip(batch, sick) if not no]
        os.write(FILE, "".join(f"{{each}}\\n" for each in ids).encode())
        return [Retry("sick") if no else DELIVERED for no in sick]
"""
_REST: Final = 'plugins: {{paths: ["{plugins}"]}}\nshutdown: {{grace: 5s}}\n'


async def main() -> None:
    from tdbwatch.daemon import logs

    asked = options()
    folder = Path(asked["folder"])
    logs.configure("critical", "console")
    taken = folder / "taken"
    size = taken.stat().st_size if taken.exists() else 0
    config = config_text(folder, asked["ports"], ["choosy: {type: choosy}"], asked["rooms"])
    daemon = await started(folder, config + _REST.format(plugins=_plugins(folder, asked["sick"], taken)))
    startup = time.perf_counter() - STARTED
    ready()
    await _live(daemon, asked["count"])
    if asked["end"] == "stop":
        await daemon.stop()
    memory = peak_rss()  # before a million ids are read that only this bench wants
    text = taken.read_text()
    before, now = text[:size].split(), text[size:].split()
    report(startup=startup, peak_rss=memory, delivered=len(now), again=_again(before, now))
    if asked["end"] == "kill":
        os._exit(0)  # nothing is written any more, and nothing is closed


async def _live(daemon: Any, count: int) -> None:
    """Until all is heard and the healthy rooms have what is theirs, and a moment more."""
    await until(lambda: daemon.received >= count)
    daemon.source.flush()
    await daemon.spool.flush()
    last = -1
    while last != (now := daemon.couriers()[0].counts.delivered):
        last = now
        await asyncio.sleep(2)


def _again(before: Sequence[str], now: Sequence[str]) -> int:
    """How many were delivered that had been before."""
    return len(set(before) & set(now)) + len(now) - len(set(now))


def _plugins(folder: Path, sick: int, taken: Path) -> Path:
    """A folder with the plugin, which nobody else may write: others are not trusted."""
    plugins = folder / "plugins.d"
    plugins.mkdir(mode=0o700, exist_ok=True)
    path = plugins / "choosy.py"
    path.write_text(_PLUGIN.format(sick=sick, taken=taken))
    path.chmod(0o600)
    return plugins


if __name__ == "__main__":
    asyncio.run(main())
