"""One process at a time owns a spool, whatever becomes of the lock's file and of who has it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import SpoolError
from tdbwatch.daemon.spool.file.lock import SpoolLock

from .spool_kit import MakeSpool, look_now, making


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path) as make:
        yield make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def test_two_daemons_on_one_spool_are_refused(make: MakeSpool) -> None:
    await make()
    with pytest.raises(SpoolError, match=rf"another tdbwatch \(process {os.getpid()}\) holds"):
        await make()


async def test_the_lock_of_a_process_dies_with_it(make: MakeSpool, path: Path) -> None:
    hold = (
        "import os, sys; from pathlib import Path; from tdbwatch.daemon.spool.file.lock import SpoolLock;"
        "lock = SpoolLock(Path(sys.argv[1])); lock.acquire(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", hold, path], check=False)
    assert done.returncode == -9
    await make()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_child_that_outlives_the_daemon_does_not_hold_its_spool(make: MakeSpool) -> None:
    waits, ends = os.pipe()
    first = await make()
    child = os.fork()
    if not child:
        os.close(ends)
        os.read(waits, 1)
        os._exit(0)
    try:
        await first.close()
        await make()
    finally:
        os.close(ends)
        os.waitpid(child, 0)
        os.close(waits)


async def test_a_lock_whose_file_was_removed_is_taken_again(make: MakeSpool, path: Path) -> None:
    await make()
    path.with_name("spool.db.lock").unlink()
    async with asyncio.timeout(20):
        while SpoolLock(path).holder() is None:
            await asyncio.sleep(0.005)
    with pytest.raises(SpoolError, match="another tdbwatch"):
        await make()


async def test_a_lock_that_another_took_meanwhile_ends_the_writer(make: MakeSpool, path: Path) -> None:
    first = await make(check=60)
    path.with_name("spool.db.lock").unlink()
    second = await make()
    with pytest.raises(SpoolError, match="another tdbwatch"):
        await look_now(first)
    with pytest.raises(SpoolError, match="another tdbwatch"):
        await first.failed
    assert not second.failed.done()
