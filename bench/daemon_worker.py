"""The whole daemon, put together as the command line does it, with file sinks and a spool on disk."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.measure import Watch, options, peak_rss, ready, report
from bench.stream import ROOM, room_name

if TYPE_CHECKING:
    from tdbwatch.daemon.supervisor import Daemon

STARTED: Final = time.perf_counter()
_CONFIG: Final = """\
thingsdb:
  nodes: [{nodes}]
  auth: {{username: admin, password: pass}}
  scope: //stuff
  connections: {connections}
rooms: [{rooms}]
sinks:
{sinks}
spool: {{path: "{folder}/spool.db"}}
"""
_POLL: Final = 0.002


def config_text(folder: Path, ports: list[int], sinks: list[str], rooms: int = 0) -> str:
    """The configuration; of `sinks` each is a line of YAML; with so many rooms, 0: `ROOM`."""
    return _CONFIG.format(
        nodes=", ".join(f'"127.0.0.1:{port}"' for port in ports),
        connections=len(ports),
        rooms=", ".join(map(room_name, range(rooms))) or ROOM,
        sinks="\n".join(f"  {line}" for line in sinks),
        folder=folder,
    )


def file_sink(name: str, path: Path) -> str:
    """A line for `config_text`."""
    return f'{name}: {{type: file, path: "{path}"}}'


async def started(folder: Path, config: str, *, no_sinks: bool = False) -> "Daemon":
    """A daemon with this configuration (but for its sinks), started as the command line does it."""
    from tdbwatch.cli.daemon.loading import load_or_explain
    from tdbwatch.daemon.supervisor import Daemon
    from tdbwatch.daemon.system.process import spare_what_is_there

    path = folder / "tdbwatch.yaml"
    path.write_text(config)
    loaded = load_or_explain(path)
    assert loaded is not None, "the bench's own configuration is refused"
    read, registry = loaded
    daemon = Daemon(read.model_copy(update={"sinks": ()}) if no_sinks else read, registry)
    await daemon.start()
    spare_what_is_there()
    return daemon


async def main() -> None:
    from tdbwatch.daemon import logs

    asked = options()
    folder, blocked, count = Path(asked["folder"]), bool(asked.get("blocked")), asked["sinks"]
    logs.configure("critical", "console")
    target = folder / ("blocked" if blocked else "out")
    if blocked:  # a file where the sinks' folder should be, so they never get anything
        target.touch()
    path = asked.get("path", "{n}.jsonl")
    sinks = [file_sink(f"file{n}", target / path.format(n=n)) for n in range(max(count, 1))]
    sinks += asked.get("more_sinks", [])
    config = config_text(folder, asked["ports"], sinks, asked.get("rooms", 0))
    daemon = await started(folder, config, no_sinks=not count)
    startup = time.perf_counter() - STARTED
    ready()
    watch, heard = await _watched(daemon, asked["count"], blocked=blocked or not count)
    report(
        startup=startup,
        heard=heard,
        wall=watch.wall,
        cpu=watch.cpu,
        peak_rss=peak_rss(),
        received=daemon.received,
        dropped=daemon.spool.drops.count,
    )
    await daemon.stop()


async def _watched(daemon: Any, count: int, *, blocked: bool) -> tuple[Watch, float]:
    """From the first event heard until all sinks (or, when they are blocked, the spool) have all of them.

    Also the seconds until the last one was heard.
    """
    watch = Watch()
    before = daemon.received
    if count:
        await until(lambda: daemon.received > before)
    watch.start()
    await until(lambda: daemon.received >= before + count)
    heard = time.perf_counter() - watch.wall
    daemon.source.flush()
    await daemon.spool.flush()
    if not blocked:
        await until(lambda: _finished(daemon) >= count)
    watch.stop()
    return watch, heard


def _finished(daemon: Any) -> int:
    """Events that the slowest file has."""
    return min(status.counts.delivered for status in daemon.couriers() if status.sink.startswith("file"))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not condition():  # noqa: ASYNC110 - from outside, so that what is measured is what users run
        await asyncio.sleep(_POLL)


if __name__ == "__main__":
    asyncio.run(main())
