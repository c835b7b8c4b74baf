"""The whole daemon with one healthy file sink, and with whatever company that one is to have."""

import asyncio
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import sick_sinks
from bench.daemon_worker import config_text, file_sink, started, until
from bench.measure import Watch, options, ready, report

HEALTHY: Final = "healthy"
_IMPATIENT: Final = (
    ", timeout: 200ms, retry: {initial: 20ms, factor: 1, max: 20ms, jitter: 0, max_attempts: 3}"
)
"""Fails as often as it can, and writes a dead letter for each event after three attempts."""
_REST: Final = """\
plugins: {{paths: ["{plugins}"]}}
shutdown: {{grace: 500ms}}
"""


def company_of(kind: str, folder: Path, closed: int) -> list[str]:
    """Lines of YAML: the sinks beside the healthy one. `closed` is a port where nobody listens."""
    if kind == "nobody":
        return []
    if kind == "healthy":
        return [file_sink(f"other{n}", folder / f"other{n}.jsonl") for n in range(4)]
    more = {"sick": "", "impatient": _IMPATIENT}[kind]
    return [
        f'down: {{type: webhook, url: "http://127.0.0.1:{closed}/"{more}}}',
        *(f"{name}: {{type: {name}{more}}}" for name in ("raises", "blocks", "awaits")),
    ]


async def main() -> None:
    from tdbwatch.daemon import logs

    asked = options()
    folder = Path(asked["folder"])
    with _closed_port() as closed, (folder / "log.jsonl").open("w") as log:
        logs.configure("info", "json", log)  # what failures cost includes what is said of them
        sinks = [file_sink(HEALTHY, folder / f"{HEALTHY}.jsonl")]
        sinks += company_of(asked["company"], folder, closed)
        config = config_text(folder, asked["ports"], sinks) + _REST.format(plugins=_plugins(folder))
        daemon = await started(folder, config)
        ready()
        filling, steady, blast = await _watched(daemon, asked["filling"], asked["paced"], asked["count"])
        report(
            filling_cpu=filling.cpu,
            steady_cpu=steady.cpu,
            wall=blast.wall,
            cpu=blast.cpu,
            dropped=daemon.spool.drops.count,
            sinks={status.sink: _state(status) for status in daemon.couriers()},
        )
        await daemon.stop()


async def _watched(daemon: Any, filling: int, paced: int, count: int) -> tuple[Watch, Watch, Watch]:
    """The first events by the clock; the others by the clock; the blast, until the file has all of it.

    Of the couriers only the healthy one is asked: that costs the same whatever the company.
    """
    heard = await _heard(daemon, 0, filling), await _heard(daemon, filling, paced)
    blast = Watch()
    await until(lambda: daemon.received > paced)
    blast.start()
    await until(lambda: daemon.received >= paced + count)
    daemon.source.flush()
    await daemon.spool.flush()
    await until(lambda: not _lag(daemon))
    blast.stop()
    return *heard, blast


def _lag(daemon: Any) -> int:
    return next(courier for courier in daemon.deliveries.each if courier.name == HEALTHY).status().lag


async def _heard(daemon: Any, after: int, through: int) -> Watch:
    watch = Watch()
    await until(lambda: daemon.received > after)
    watch.start()
    await until(lambda: daemon.received >= through)
    watch.stop()
    return watch


def _state(status: Any) -> dict[str, Any]:
    counts = {key: getattr(status.counts, key) for key in ("delivered", "retried", "dead")}
    return {"state": status.state, **counts, "in_flight": status.in_flight}


def _plugins(folder: Path) -> Path:
    """A folder with the sick sinks' plugin, which nobody else may write: others are not trusted."""
    plugins = folder / "plugins.d"
    plugins.mkdir(mode=0o700)
    path = plugins / "sick.py"
    shutil.copyfile(sick_sinks.__file__, path)
    path.chmod(0o600)
    return plugins


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port of loopback that refuses connections, and that nobody else can get meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


if __name__ == "__main__":
    asyncio.run(main())
