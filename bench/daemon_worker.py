"""The whole daemon, put together as the command line does it, with file sinks and a spool on disk."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.measure import Watch, options, peak_rss, ready, report
from bench.stream import ROOM

STARTED: Final = time.perf_counter()
_CONFIG: Final = """\
thingsdb:
  nodes: [{nodes}]
  auth: {{username: admin, password: pass}}
  scope: //stuff
  connections: {connections}
rooms: [{room}]
sinks:
{sinks}
spool: {{path: "{folder}/spool.db"}}
"""
_POLL: Final = 0.002


def config_text(folder: Path, ports: list[int], sinks: int, *, blocked: bool) -> str:
    """One file sink after the other; a blocked one's folder is a file, so it never gets anything."""
    target = folder / ("blocked" if blocked else "out")
    lines = [f'  file{n}: {{type: file, path: "{target}/{n}.jsonl"}}' for n in range(sinks)]
    return _CONFIG.format(
        nodes=", ".join(f'"127.0.0.1:{port}"' for port in ports),
        connections=len(ports),
        room=ROOM,
        sinks="\n".join(lines),
        folder=folder,
    )


async def main() -> None:
    from tdbwatch.cli.loading import load_or_explain
    from tdbwatch.daemon import logs
    from tdbwatch.daemon.supervisor import Daemon

    asked = options()
    folder = Path(asked["folder"])
    logs.configure("critical", "console")
    if asked.get("blocked"):
        (folder / "blocked").touch()
    path = folder / "tdbwatch.yaml"
    path.write_text(config_text(folder, asked["ports"], asked["sinks"], blocked=bool(asked.get("blocked"))))
    loaded = load_or_explain(path)
    assert loaded is not None, "the bench's own configuration is refused"
    daemon = Daemon(*loaded)
    await daemon.start()
    startup = time.perf_counter() - STARTED
    ready()
    watch, heard = await _watched(daemon, asked["count"], blocked=bool(asked.get("blocked")))
    report(
        startup=startup,
        heard=heard,
        wall=watch.wall,
        cpu=watch.cpu,
        peak_rss=peak_rss(),
        received=daemon.received,
        dropped=daemon.spool.dropped,
    )
    await daemon.stop()


async def _watched(daemon: Any, count: int, *, blocked: bool) -> tuple[Watch, float]:
    """From the first event heard until all sinks (or, when they are blocked, the spool) have all of them.

    Also the seconds until the last one was heard.
    """
    watch = Watch()
    before = daemon.received
    if count:
        await _until(lambda: daemon.received > before)
    watch.start()
    await _until(lambda: daemon.received >= before + count)
    heard = time.perf_counter() - watch.wall
    daemon.source.flush()
    await daemon.spool.flush()
    if not blocked:
        await _until(lambda: _finished(daemon) >= count)
    watch.stop()
    return watch, heard


def _finished(daemon: Any) -> int:
    """Events that the slowest sink has, and those that were given up since the disk could not follow."""
    slowest: int = min(status.delivered for status in daemon.couriers())
    return slowest + int(daemon.spool.dropped)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - from outside, so that what is measured is what users run
        await asyncio.sleep(_POLL)


if __name__ == "__main__":
    asyncio.run(main())
