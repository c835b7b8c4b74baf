"""How many dead letters are kept, and what they never push out."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.spool import DeadLetter, Entry
from tdbwatch.daemon.spool.file.disk import used_bytes
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.tables import connect

from .limits_kit import finish
from .spool_kit import MakeSpool, dead_letter, events, everything, keep


def dead(entry: Entry, reason: str = "no", first_error: str = "", last_error: str = "") -> DeadLetter:
    entry = Entry(entry.seq, entry.event, "s")
    return DeadLetter("s", entry, reason, 1, first_error or reason, last_error or reason, 1, 2)


async def bury(spool: SqliteSpool, count: int, reason: str = "no", error: str = "", size: int = 10) -> None:
    """So many events that the sink refuses, a hundred at a time."""
    for _ in range(count // 100):
        before = spool.last_seq
        await keep(spool, events(100, size))
        entries = await everything(spool, after=before)
        await dead_letter(spool, [dead(entry, reason, error, error) for entry in entries])
        finish(spool)


async def settled(spool: SqliteSpool, turns: int = 20) -> None:
    for _ in range(turns):
        await spool.flush()


def kept(path: Path) -> list[DeadLetter]:
    with closing(sqlite3.connect(path)) as connection:
        return [letter for _, letter in letters_after(connection, 0, 1 << 60)]


def taken_by_letters(path: Path) -> int:
    """Bytes of the file that hold nothing once the dead letters are gone."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        before = used_bytes(copy)
        copy.executescript("DELETE FROM dead_letters")
        return before - used_bytes(copy)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("x" * 1_000, ""),
        ("ж" * 1_000, ""),
        ("ж" * 1_999, ""),
        ("no", "ж" * 1_500),
        ("x" * 2_000, "y" * 1_900),
    ],
)
async def test_dead_letters_with_long_errors_take_half_of_the_file_at_most_and_not_much_less(
    make: MakeSpool, path: Path, reason: str, error: str
) -> None:
    spool = await make(max_size=4 << 20)
    await bury(spool, 3_000, reason, error)
    await settled(spool)
    assert 1.3 * (1 << 20) < taken_by_letters(path) < 2.1 * (1 << 20)
    assert spool.drops.count == 0


async def test_an_error_that_is_the_reason_is_kept_once_and_reads_as_before(
    make: MakeSpool, path: Path
) -> None:
    spool = await make()
    await keep(spool, events(1))
    [entry] = await everything(spool)
    buried = [dead(entry), dead(entry, first_error="busy"), dead(entry, last_error="busy")]
    await dead_letter(spool, buried)
    assert kept(path) == buried
    with closing(sqlite3.connect(path)) as connection:
        texts = connection.execute("SELECT reason, first_error, last_error FROM dead_letters").fetchall()
    assert texts == [("no", "", ""), ("no", "busy", ""), ("no", "", "busy")]


class Counting:
    """Real connections; how often all dead letters were read to count them."""

    def __init__(self) -> None:
        self.counts = 0

    def connect(self, path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(self._trace)
        return connection

    def _trace(self, statement: str) -> None:
        self.counts += "sum(" in statement and statement.endswith("FROM dead_letters WHERE number > 0")


async def test_at_the_limit_a_few_go_at_once_and_all_are_counted_anew_only_then(
    make: MakeSpool, path: Path
) -> None:
    counting = Counting()
    spool = await make(max_dead_letters=160, connect=counting.connect)
    await bury(spool, 100)
    before = counting.counts
    [entry, *_] = await everything(spool)
    with capture_logs() as logs:
        for _ in range(61 + 21):
            await dead_letter(spool, [dead(entry)])
        await settled(spool)
    dropped = [line["count"] for line in logs if line["event"] == "spool.dead_letters_dropped"]
    assert dropped == [11, 11]
    assert spool.alarms.lost_letters == 22
    assert counting.counts == before + 2


async def test_dead_letters_that_commands_end_do_not_count(make: MakeSpool, path: Path) -> None:
    spool = await make(max_dead_letters=160)
    await bury(spool, 100)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM dead_letters")
    await bury(spool, 100)
    await settled(spool)
    assert len(kept(path)) == 100


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
async def test_a_lower_max_size_takes_dead_letters_and_no_event_that_is_undelivered(
    make: MakeSpool, path: Path, when_full: str
) -> None:
    spool = await make(max_size=64 << 20)
    await bury(spool, 4_000, size=2_000)
    await keep(spool, sent := events(500, 2_000))
    await spool.close()
    with capture_logs() as logs:
        spool = await make(max_size=4 << 20, when_full=when_full)
        await keep(spool, more := events(10))
        await settled(spool)
    assert [entry.event for entry in await everything(spool, after=4_000)] == [*sent, *more]
    assert spool.drops.count == 0
    [lost] = [line["count"] for line in logs if line["event"] == "spool.dead_letters_dropped"]
    left = kept(path)
    assert lost + len(left) == 4_000
    assert [letter.entry.seq for letter in left] == list(range(lost + 1, 4_001)), "the newest are kept"
    assert taken_by_letters(path) < 2.1 * (1 << 20)
