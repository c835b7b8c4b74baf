"""Where a spool is: one name, whatever leads there, and nothing but plain files of ours."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import SpoolError
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.file.place import spool_file
from tdbwatch.daemon.spool.looking.doctor import examine
from tdbwatch.safe_files import UnsafeFileError, open_file, real_path

from .spool_kit import MakeSpool, events, everything, keep, making, spool_at

NAMES = ("", "-wal", "-shm", "-journal", ".lock", ".renewing", ".renewing-journal")


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _dangling(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nothing"))


def _hard(path: Path, victim: Path) -> None:
    os.link(victim, path)


def _pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, victim: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("trap", [_link, _dangling, _hard, _pipe, _folder])
@pytest.mark.parametrize("name", NAMES)
async def test_what_is_no_plain_file_is_refused_and_left_alone(
    tmp_path: Path, name: str, trap: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"shadow")
    folder = tmp_path / "spool"
    folder.mkdir()
    trap(place := folder / f"spool.db{name}", victim)
    before = victim.stat()
    with pytest.raises(SpoolError) as refused:
        await spool_at(folder / "spool.db").open()
    assert str(place) in str(refused.value)
    assert "; " in str(refused.value), "with a remedy"
    after = victim.stat()
    assert victim.read_bytes() == b"shadow"
    assert (after.st_uid, after.st_mode, after.st_mtime) == (before.st_uid, before.st_mode, before.st_mtime)
    assert [file.name for file in folder.iterdir()] == [place.name], "nothing was made there"
    assert not (tmp_path / "nothing").exists()


async def test_a_damaged_spool_set_aside_that_is_a_pipe_does_not_stop_the_doctor(tmp_path: Path) -> None:
    async with making(tmp_path) as make:
        await make()
    os.mkfifo(tmp_path / "spool.db.damaged-20261123T072400Z")
    texts = [finding.text for finding in examine(tmp_path / "spool.db")]
    assert any("is a pipe, not a file" in text for text in texts)


# -- through a link ------------------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A link to a spool on another disk, say."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "spool.db").symlink_to("disk/real.db")
    return tmp_path / "spool.db"


async def test_a_link_to_a_spool_is_resolved_once_so_a_second_daemon_is_refused(linked: Path) -> None:
    async with making(linked.parent / "disk") as make:
        first: MakeSpool = make
        spool = await first("real.db")
        assert spool_file(linked) == spool.path
        with pytest.raises(SpoolError, match="another tdbwatch"):
            await spool_at(spool_file(linked)).open()
        await keep(spool, events(1))
    async with making(linked.parent) as make:
        again = await make(str(spool_file(linked)))
        assert len(await everything(again)) == 1
    names = {file.name for file in linked.parent.iterdir()}
    assert names == {"disk", "spool.db"}, "nothing of it lies beside the link"


def test_a_link_to_where_nothing_is_is_refused_and_left(linked: Path) -> None:
    with pytest.raises(SpoolError, match=r"is a link to .*real\.db, where nothing is; mount that disk"):
        spool_file(linked)
    assert linked.is_symlink()


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(SpoolError, match="cannot be followed"):
        spool_file(tmp_path / "a/spool.db")


def test_a_link_in_a_folder_that_others_can_write_is_not_followed(linked: Path) -> None:
    (linked.parent / "disk/real.db").touch()
    linked.parent.chmod(0o777)
    with pytest.raises(SpoolError, match="is a link, in a folder that others can write; remedy: name what"):
        spool_file(linked)
    linked.parent.chmod(0o1777)
    assert spool_file(linked).name == "real.db", "our own link in a folder as /tmp nobody can replace"


@pytest.mark.parametrize(
    "path", ["a/b", "./a", "../x/./y", "../../x", "a/../b", "a/link/../c", "link/x", "/tmp/../usr/lib/x", "/"]
)
def test_a_real_path_is_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "a/link").symlink_to("deep")
    (tmp_path / "link").symlink_to(tmp_path / "a/deep")
    monkeypatch.chdir(tmp_path / "a")
    assert os.path.realpath(real_path(Path(path))) == os.path.realpath(path)
    monkeypatch.chdir(tmp_path)
    assert os.path.realpath(real_path(Path(path))) == os.path.realpath(path)


# -- what is opened is looked at again -----------------------------------------------------------------------


def test_what_is_not_to_be_opened_is_not_even_cut_short(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"shadow")
    os.link(victim, tmp_path / "other")
    with pytest.raises(UnsafeFileError, match="has another name"):
        open_file(tmp_path / "other", os.O_WRONLY | os.O_TRUNC)
    assert victim.read_bytes() == b"shadow"


def test_a_lock_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"shadow")
    (tmp_path / "spool.db.lock").symlink_to(victim)
    with pytest.raises(SpoolError, match="is a link"):
        SpoolLock(tmp_path / "spool.db").acquire()
    assert victim.read_bytes() == b"shadow"
    assert SpoolLock(tmp_path / "spool.db").holder() == "unknown"
