"""What the status tells of the spool: what counts for its limit, and what was dropped, and when."""

from dataclasses import replace

from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.status.figures import survey
from tdbwatch.daemon.status.health import problems
from tdbwatch.daemon.status.metrics import Metrics
from tdbwatch.daemon.status.pages import tables
from tdbwatch.testing import ManualClock
from tests.daemon.spool.spool_kit import Heard, MakeSpool, events, keep, until

from .status_moments import FINE, NOW, SECOND, SPOOL

MIB = 1 << 20


async def fill(spool: SqliteSpool, groups: int) -> None:
    """Append groups of 100 events of a KiB each that no sink takes."""
    for _ in range(groups):
        await keep(spool, events(100, 1000))


async def test_what_counts_for_the_limit_stays_below_it_however_much_is_on_disk(make: MakeSpool) -> None:
    spool = await make(max_size=MIB)
    await fill(spool, 40)
    figures = survey(spool.path, [])
    assert figures.size is not None
    assert figures.used is not None
    assert MIB * 0.8 < figures.used <= MIB < figures.size
    view = replace(SPOOL, size=figures.size, used=figures.used, max_size=MIB)
    snapshot = replace(FINE, spool=view)
    text = await Metrics().text(snapshot)
    metrics = dict(line.split() for line in text.decode().splitlines() if line[:1] != "#")
    assert float(metrics["tdbwatch_spool_bytes"]) == figures.used
    assert float(metrics["tdbwatch_spool_disk_bytes"]) == figures.size
    assert " of 1.0 MiB</dd>" in tables.spool(snapshot)


async def test_a_drop_is_a_warning_for_an_hour_after_the_last_one(make: MakeSpool) -> None:
    clock = ManualClock(NOW / 1e6)
    spool = await make(max_size=MIB, clock=clock)
    assert spool.drops.latest_us is None
    await fill(spool, 20)
    assert spool.drops.count > 0
    assert spool.drops.latest_us == NOW
    await clock.advance(60)
    await fill(spool, 1)
    assert spool.drops.latest_us == NOW + 60 * SECOND
    view = replace(SPOOL, dropped=spool.drops.count, last_drop_us=spool.drops.latest_us)
    [problem] = problems(replace(FINE, spool=view, taken_us=NOW + 3_659 * SECOND))
    assert problem.text.startswith(
        f"{spool.drops.count:,} undelivered events given up since the start, the latest"
    )
    assert problems(replace(FINE, spool=view, taken_us=NOW + 3_660 * SECOND)) == ()


async def test_what_was_dropped_before_the_start_is_not_counted_since_the_start(make: MakeSpool) -> None:
    options = {"max_size": MIB, "when_full": "drop_newest"}
    spool = await make(**options)
    await fill(spool, 20)
    await spool.close()
    again = await make(**options, listener=(told := Heard()))
    again.save("s", again.last_seq, {})
    await again.flush()
    await fill(again, 1)
    assert (again.drops.count, again.drops.latest_us) == (0, None)
    await until(lambda: told.drops)
    assert [report.count for report in told.drops] == [spool.drops.count], "its gap records tell of it"
