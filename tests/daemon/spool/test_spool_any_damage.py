"""Whatever happens to the file: rescue raises nothing, and loses nothing that can be read or is in memory."""

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.spool import DeadLetter, SpoolError
from tdbwatch.daemon.spool.api import Behind, Progress
from tdbwatch.daemon.spool.looking.doctor import damaged, examine
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, heard
from tdbwatch.daemon.spool.stored.log import BLOCK, Window, block_of, blocks_where, entries_of
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.daemon.spool.survival.renewal import renew
from tdbwatch.plugin import Event

from .spool_kit import dead_letter, everything, spool_at

ROOMS = ("alerts", "ops", "deploys")
LANES = [Lane("//stuff", room) for room in ROOMS]
ERROR = sqlite3.DatabaseError("whatever")
SILENT = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
_PAGE = 4096
Damage = Callable[[Path], None]


async def _made(path: Path) -> None:
    """Sixty commits, the last twenty of them in the log only; two sinks, one with a lane that is behind."""
    spool = spool_at(path, sinks=["s", "t"], check=60)
    await spool.open()
    for number in range(60):
        sent = [Event.create(room, "e", [number, "x" * (number * 40)]) for room in ROOMS]
        spool.append(heard(sent))
        if number == 40:
            spool.save("s", 90, {LANES[0]: Behind(10, ((13, 13),))})
            found = await everything(spool)
            await dead_letter(spool, [DeadLetter("s", entry, "no", 1, "", "", 1, 2) for entry in found[:5]])
            await spool.close()
            spool = spool_at(path, sinks=["s", "t"], check=60)
            await spool.open()
        await spool.flush()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{path.parent}/crashed.db{suffix}")
    await spool.close()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "spool.db"
    asyncio.run(_made(path))
    return path.with_name("crashed.db")


@contextmanager
def copied(crashed: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        for suffix in ("", "-wal"):
            shutil.copy(f"{crashed}{suffix}", f"{path}{suffix}")
        path.with_name("spool.db.lock").write_text("1\n")  # it was a spool
        yield path


def _spoilt(suffix: str, change: Callable[[bytearray], bytearray]) -> Damage:
    def spoil(path: Path) -> None:
        file = Path(f"{path}{suffix}")
        if file.exists():
            file.write_bytes(change(bytearray(file.read_bytes())))

    return spoil


def _flipped(place: float, bit: int) -> Callable[[bytearray], bytearray]:
    def change(content: bytearray) -> bytearray:
        if content:
            content[int(place * len(content))] ^= 1 << bit
        return content

    return change


def _overwritten(place: float, filling: bytes) -> Callable[[bytearray], bytearray]:
    def change(content: bytearray) -> bytearray:
        at = int(place * len(content)) // _PAGE * _PAGE
        content[at : at + _PAGE] = filling * (len(content[at : at + _PAGE]) // len(filling))
        return content

    return change


def _removed(suffix: str) -> Damage:
    return lambda path: Path(f"{path}{suffix}").unlink(missing_ok=True)


places = st.floats(0, 1, exclude_max=True)
files = st.sampled_from(["", "", "", "-wal"])
damages = st.one_of(
    st.builds(_spoilt, files, st.builds(_flipped, places, st.integers(0, 7))),
    st.builds(_spoilt, files, st.builds(_overwritten, places, st.sampled_from([b"\0", b"\xff", b"\x0d\5"]))),
    st.builds(lambda f, p: _spoilt(f, lambda content: content[: int(p * len(content))]), files, places),
    st.sampled_from([_removed(""), _removed("-wal")]),
)
several = st.lists(damages, min_size=1, max_size=4)
bounded = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def readable(path: Path, first_seqs: list[int]) -> list[Block]:
    """The blocks that decode, asked for one by one: the simplest rescue of all."""
    found: list[Block] = []
    if not path.exists():
        return found
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for first_seq in first_seqs:
            with suppress(sqlite3.Error, ValueError, TypeError):
                query = f"SELECT {BLOCK} FROM blocks WHERE first_seq = ?"
                row = connection.execute(query, (first_seq,)).fetchone()
                if row is not None and (block := block_of(row)).runs and block.first_seq == first_seq:
                    found.append(block)
    return found


def seqs_and_ids(blocks: list[Block]) -> set[tuple[int, str]]:
    return {(entry.seq, entry.event.id) for block in blocks for entry in entries_of(block)}


def all_blocks(path: Path) -> list[Block]:
    with closing(connect(path)) as connection:
        return blocks_where(connection, "1 ORDER BY first_seq", ())


def contents(crashed: Path) -> list[Block]:
    with copied(crashed) as path:
        return all_blocks(path)


@bounded
@given(several)
def test_all_that_can_be_read_and_may_not_be_finished_is_in_the_new_file(
    crashed: Path, attacks: list[Damage]
) -> None:
    whole = contents(crashed)
    with copied(crashed) as path:
        for attack in attacks:
            attack(path)
        could_be_read = readable(path, [block.first_seq for block in whole])
        store, report = renew(path, connect, ERROR, 0.0, None)
        with closing(store):
            reach = Reach(store.progress, None)
            found = seqs_and_ids(all_blocks(path))
            needed = [b for b in could_be_read if not reach.finished(b)]
            assert (
                seqs_and_ids(needed if store.progress and not report.progress_lost else could_be_read)
                <= found
            )
            assert report.rescued == store.entries == len(found)
            assert store.last_seq >= max((seq for seq, _ in found), default=0)
            assert all(one.floor <= store.last_seq for one in store.progress.values())
            assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@bounded
@given(several)
def test_what_memory_holds_is_in_the_new_file_whatever_became_of_the_old_one(
    crashed: Path, attacks: list[Damage]
) -> None:
    whole = contents(crashed)
    progress = {"s": Progress(90, {LANES[0]: Behind(10, ((13, 13),))}), "t": Progress(0)}
    with copied(crashed) as path:
        memory = Store(path, connect)
        memory.newest = Window(1 << 30)
        memory.newest.extend(whole[-30:])
        for attack in attacks:
            attack(path)
        last_seq = whole[-1].last_seq
        store, report = renew(path, connect, ERROR, 0.0, ["s", "t"], memory)
        memory.close()
        with closing(store):
            found = seqs_and_ids(all_blocks(path))
            assert seqs_and_ids(whole[-30:]) <= found
            assert store.entries == len({seq for seq, _ in found}) == len({event_id for _, event_id in found})
            assert store.progress == progress
            assert store.last_seq >= last_seq
            assert not report.progress_lost


def test_a_schema_that_is_no_text_is_damage_for_all_who_look(crashed: Path) -> None:
    with copied(crashed) as path:
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = path.read_bytes()
        path.write_bytes(content.replace(b"CREATE TABLE meta", b"CREATE \xffABL\xff meta"))
        with pytest.raises(sqlite3.DatabaseError) as refused, opened(path):
            pass
        held = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
        assert str(path.resolve()) not in held, refused.value
        assert damaged(examine(path))
        asyncio.run(_starts_and_goes_on(path))


@settings(bounded, max_examples=40)
@given(several)
@example([_spoilt("", lambda content: content[: int(0.296875 * len(content))])])  # rows full of nothing
def test_a_daemon_starts_and_goes_on_whatever_is_there(crashed: Path, attacks: list[Damage]) -> None:
    with copied(crashed) as path:
        for attack in attacks:
            attack(path)
        asyncio.run(_starts_and_goes_on(path))


async def _starts_and_goes_on(path: Path) -> None:
    spool = spool_at(path, sinks=["s", "t"], window=1, log=SILENT)
    try:
        await spool.open()
    except SpoolError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:  # for the words in its header that say whose it is, and which version
        assert "format" in refused or "not a spool" in refused
        return
    new = Event.create("alerts", "new")
    spool.append(heard([new]))
    await spool.flush()
    async with asyncio.timeout(20):
        while True:
            with suppress(SpoolError):  # until it is renewed
                found = await everything(spool)
                break
            await spool.flush()
    assert found[-1].event.id == new.id
    for sink in ("s", "t"):
        assert not spool.progress(sink).finished(found[-1].seq, LANES[0])
    assert not spool.failed.done()
    await spool.close()
