"""Only its owner can read a spool, also one that was copied back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from tdbwatch.daemon.spool.api import SpoolError
from tdbwatch.daemon.spool.file.place import keep_private, side

from .spool_kit import making, spool_at


@contextmanager
def as_nobody() -> Iterator[None]:
    """Somebody who may not change the mode of others' files."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_spool_that_others_can_read_is_tightened_and_the_log_says_so(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    async with making(tmp_path) as make:
        await (await make()).close()
        path.chmod(0o644)
        side(path, "-wal").touch(0o666)
        with structlog.testing.capture_logs() as logs:
            await make()
        assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("spool.db*")} == {0o600}
    [line] = logs
    assert (line["event"], line["log_level"], line["mode"]) == ("spool.tightened", "warning", "0644")


async def test_a_spool_of_its_owner_alone_is_nothing_to_tell_of(tmp_path: Path) -> None:
    async with making(tmp_path) as make:
        with structlog.testing.capture_logs() as logs:
            await (await make()).close()
            await make()
    assert logs == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
async def test_a_spool_of_another_user_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with making(tmp_path) as make:
        await (await make()).close()
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above are the test runner's
    with as_nobody(), pytest.raises(SpoolError, match=r"belongs to user 0, .* run `chown 65534 .*` as root"):
        keep_private(Path("spool.db"))


async def test_a_spool_whose_mode_cannot_be_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spool.db"
    async with making(tmp_path) as make:
        await (await make()).close()
    path.chmod(0o640)

    def fchmod(file: int, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", fchmod)
    with pytest.raises(SpoolError, match=r"others can read .*; .* `chmod 600 "):
        await spool_at(path).open()
