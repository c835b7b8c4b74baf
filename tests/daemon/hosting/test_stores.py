"""What sinks keep is a fact of the spool: it survives what the spool survives, and goes with its sink."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tdbwatch.daemon.hosting.stores import Stores
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.inbox import Group, Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.looking.gone import forget, left_in, rename
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.stored import progress
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.daemon.spool.survival.renewal import renew
from tdbwatch.plugin import Event, Sink, SinkContext, sink
from tdbwatch.plugin.sink import Verdict
from tdbwatch.testing import RunningDaemon
from tdbwatch.testing.fixtures import embedded_node, running_daemon  # noqa: F401 - fixtures
from tests.daemon.spool.spool_kit import Heard, MakeSpool, change, events, until
from tests.daemon.spool.test_spool_small_disk import fill, free  # noqa: F401 - a fixture


async def stores_of(make: MakeSpool, *sinks: str) -> Stores:
    stores = Stores(await make())
    await stores.load(sinks)
    return stores


async def test_it_is_there_after_the_spool_was_closed(make: MakeSpool) -> None:
    spool = await make()
    stores = Stores(spool)
    await stores.load(["a", "b"])
    stores.of("a").set("cursor", 5)
    stores.of("a").set("gone", 1)
    stores.of("a").delete("gone")
    stores.of("b").set("cursor", b"\x00")
    await stores.load(["a"])  # made anew while it runs: the same store
    stores.of("a").set("cursor", 6)
    await spool.close()
    after = await stores_of(make, "a", "b", "c")
    assert after.of("a").items() == [("cursor", 6)]
    assert after.of("b").items() == [("cursor", b"\x00")]
    assert after.of("c").items() == []


def test_what_is_kept_first_is_in_no_later_commit_than_what_is_finished_then() -> None:
    inbox = Inbox(Limits(), 0.0, 0.0)
    inbox.note(Change("s", values={"k": b"\x01"}))
    inbox.note(Change("s", 7))
    group = inbox.take(0)
    assert group is not None
    assert group.apart == [[Change("s", 7, values={"k": b"\x01"})]]
    waiting = Group()
    waiting.note(Change("s", values={"k": b"\x01", "j": b"\x01"}))
    inbox.note(Change("s", values={"k": None}))
    inbox.note(Change("s", 8))
    inbox.note(Change("other", 9))
    inbox.join(waiting)
    assert waiting.apart == [
        [Change("s", 8, values={"k": None, "j": b"\x01"})],
        [Change("other", 9)],
    ]


async def test_on_a_full_disk_it_is_written_with_the_progress_of_its_sink(
    make: MakeSpool,
    path: Path,
    free: Callable[[], int],  # noqa: F811
) -> None:
    spool = await make()
    await fill(spool)
    spool.keep("s", "k", b"\x01")
    spool.save("s", 1, {})

    def progress() -> bool:
        with opened(path) as look:
            return bool(look.connection.execute("SELECT 1 FROM progress WHERE floor = 1").fetchall())

    await until(progress)
    assert (await spool.values())["s"] == {"k": b"\x01"}


async def test_it_is_taken_over_from_a_damaged_file(make: MakeSpool, path: Path, told: Heard) -> None:
    spool = await make()
    spool.keep("s", "k", b"\x01")
    spool.append(heard(events(50, 2_000)))
    await spool.close()
    change(path, "UPDATE blocks SET body = x'c1'")
    spool = await make()
    with suppress(SpoolError):
        await spool.read(0, 1 << 20)
    await until(lambda: told.damages)
    assert await spool.values() == {"s": {"k": b"\x01"}}


async def test_a_file_that_lost_it_gets_what_memory_holds(make: MakeSpool, path: Path, told: Heard) -> None:
    stores = await stores_of(make, "s")
    spool = await make("other.db")
    stores = Stores(spool)
    await stores.load(["s"])
    stores.of("s").set("k", 1)
    await spool.flush()
    change(path.with_name("other.db"), "DELETE FROM sink_values")
    assert await spool.values() == {}
    stores.save_all()
    await spool.flush()
    assert await spool.values() == {"s": {"k": b"\x01"}}


async def test_what_makes_no_sense_is_not_taken_over_from_a_damaged_file(make: MakeSpool, path: Path) -> None:
    await (await make()).close()
    change(path, "INSERT INTO sink_values VALUES ('s', 't', 'text'), ('s', 'k', x'01')")
    store, _ = renew(path, connect, sqlite3.DatabaseError("by the doctor"), 0.0, None)
    assert progress.values(store.connection) == {"s": {"k": b"\x01"}}
    assert store.connection.execute("SELECT count(*) FROM sink_values").fetchone() == (1,)
    store.close()


async def test_of_a_sink_that_is_gone_it_is_told_of_renamed_and_dropped(make: MakeSpool, path: Path) -> None:
    spool = await make()
    spool.progress("s")
    spool.keep("s", "a", b"\x01")
    spool.keep("s", "b", b"\x02")
    await spool.close()
    (left,) = left_in(path, [])
    assert str(left) == "2 values of its store"
    assert str(replace(left, events=3)) == "3 undelivered events, 0 dead letters and 2 values of its store"
    with opened(path, "rw") as look:
        rename(look, "s", "t")
    assert [(one.sink, one.values) for one in left_in(path, [])] == [("t", 2)]
    with opened(path, "rw") as look:
        forget(look, "t")
    assert left_in(path, []) == ()


def test_a_sink_goes_on_counting_after_a_restart(running_daemon: Callable[..., RunningDaemon]) -> None:  # noqa: F811
    class Counts(Sink):
        async def deliver(self, batch: Sequence[Event]) -> Verdict:
            store = self.context.store
            news = [event for event in batch if event.kind == "event"]
            store.set("count", store.get("count", 0) + len(news))

    @sink("reads")
    def reads(event: Event, context: SinkContext) -> None:
        context.store.set(event.event, event.hops)

    config = {"sinks": {"counts": {"type": "counts"}, "reads": {"type": "reads"}}}
    daemon = running_daemon(config, sink("counts")(Counts), reads)
    for number in range(5):
        daemon.emit("e", number)
    daemon.drained()
    daemon.stop()
    daemon.start()
    daemon.emit("f")
    daemon.drained()
    counts, reads_ = (daemon.daemon.stores.of(name) for name in ("counts", "reads"))
    assert (counts.items(), reads_.items()) == ([("count", 6)], [("e", 0), ("f", 0), ("gap", 0)])
