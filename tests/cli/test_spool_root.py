"""Root at work on a spool of another user, who lays traps there."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tdbwatch.cli.app import main
from tdbwatch.cli.spool.capabilities import DAC_READ_SEARCH, effective
from tdbwatch.daemon.spool import SpoolError
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.plugin import Event

from .conftest import CONFIG, _make

EVE = 64_123
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can lead root astray")


def chown(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, EVE, EVE, follow_symlinks=False)


@pytest.fixture
def eve() -> Iterator[Path]:
    """Eve's folder with a spool, where she can get to it."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    folder = base / "eve"
    folder.mkdir(mode=0o700)
    asyncio.run(_make(folder / "spool.db", [Event.create("alerts", "e", [n]) for n in range(3)], 2))
    (base / "prod.yaml").write_text(CONFIG.replace("spool.db", "eve/spool.db"))
    (base / "prod.yaml").chmod(0o600)
    chown(folder)
    yield folder
    shutil.rmtree(base)


@pytest.fixture
def victim(eve: Path) -> Path:
    """A file of root's."""
    path = eve.parent / "shadow"
    path.write_bytes(b"shadow")
    path.chmod(0o600)
    return path


COMMANDS = (
    ("doctor",),
    ("stats",),
    ("list",),
    ("export",),
    ("requeue", "--all"),
    ("drop", "--all", "--yes"),
)


WORKING = [*COMMANDS, ("wake", "audit"), ("backup", "{}/copy.db")]


@pytest.mark.parametrize("command", WORKING, ids=lambda command: command[0])
def test_root_gets_to_a_spool_whose_owner_does_not(
    eve: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """As under `DynamicUser=`: only root gets through /var/lib/private."""
    eve.parent.chmod(0o700)
    words = [word.format(eve.parent) for word in command]
    assert main(["spool", *words, "--spool", str(eve / "spool.db")]) == 0, capsys.readouterr().err
    assert {path.stat().st_uid for path in eve.iterdir()} == {EVE}
    assert effective() & ~DAC_READ_SEARCH, "root has all its rights again"


@pytest.mark.parametrize("above", [0o755, 0o700], ids=oct)
@pytest.mark.parametrize("kind", [Path.symlink_to, lambda path, victim: os.link(victim, path)])
@pytest.mark.parametrize("name", ["", "-wal", "-shm", ".lock", ".renewing", ".renewing-journal"])
def test_no_command_of_roots_opens_what_a_trap_leads_to_or_gives_it_away(
    eve: Path,
    victim: Path,
    name: str,
    kind: Callable[[Path, Path], None],
    above: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    eve.parent.chmod(above)
    for suffix in ("-wal", "-shm", name):
        (eve / f"spool.db{suffix}").unlink(missing_ok=True)
    kind(trap := eve / f"spool.db{name}", victim)
    for command in COMMANDS:
        assert main(["spool", *command, "--spool", str(eve / "spool.db")]) != 0
        assert str(trap) in capsys.readouterr().err
    assert (victim.read_bytes(), victim.stat().st_uid, victim.stat().st_mode & 0o777) == (b"shadow", 0, 0o600)


def test_a_folder_of_eves_that_becomes_a_link_leads_root_nowhere(
    eve: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = eve.parent / "roots"
    asyncio.run(_make(roots / "spool.db", [Event.create("alerts", "e", [1])], 0))
    (eve / "s").symlink_to(roots)
    for command in COMMANDS:
        assert main(["spool", *command, "--spool", str(eve / "s/spool.db")]) == 66
        assert f"{eve / 's'} is a link, in a folder that others can write" in capsys.readouterr().err
    assert {path.stat().st_uid for path in roots.iterdir()} == {0}


def test_what_root_makes_beside_eves_spool_is_eves(eve: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (eve / "spool.db").open("r+b") as file:
        file.write(bytes(4096))
    config = str(eve.parent / "prod.yaml")
    assert main(["spool", "doctor", "--config", config]) == 0
    assert "repaired" in capsys.readouterr().out
    assert main(["spool", "requeue", "--all", "--config", config]) == 0
    assert {path.stat().st_uid for path in eve.iterdir()} == {EVE}
    assert len([path for path in eve.iterdir() if ".damaged-" in path.name]) >= 1
    assert os.geteuid() == os.getegid() == 0, "root is root again"


def test_what_root_exports_is_roots_and_goes_where_only_root_may_write(
    eve: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = eve.parent / "roots"
    place.mkdir(mode=0o700)
    out = place / "events.jsonl"
    assert main(["spool", "export", "--spool", str(eve / "spool.db"), "--output", str(out)]) == 0
    assert (out.read_text().count("\n"), out.stat().st_uid) == (3, 0)
    assert main(["spool", "export", "--sink", "nobody", "--spool", str(eve / "spool.db")]) == 64
    (eve / "taken").symlink_to(place / "new")
    there = ["spool", "export", "--spool", str(eve / "spool.db"), "--output", str(eve / "taken")]
    assert main(there) == 73
    assert not (place / "new").exists()
    assert "is there already" in capsys.readouterr().err


def test_a_backup_of_roots_is_roots_and_whole(eve: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = eve.parent / "roots"
    place.mkdir(mode=0o700)
    copy = place / "copy.db"
    assert main(["spool", "backup", str(copy), "--spool", str(eve / "spool.db")]) == 0
    assert (copy.stat().st_uid, copy.stat().st_mode & 0o777) == (0, 0o600)
    assert "3 entries and 2 dead letters" in capsys.readouterr().out
    assert main(["spool", "backup", str(eve / "copy.db"), "--spool", str(eve / "spool.db")]) != 0
    assert f"belongs to user {EVE}, who could lead root astray" in capsys.readouterr().err
    assert not list(eve.glob("copy*"))


async def test_a_daemon_of_roots_does_not_begin_in_a_folder_of_eves(eve: Path) -> None:
    with pytest.raises(SpoolError, match=f"belongs to user {EVE}, .*; run this as that user"):
        await SqliteSpool(eve / "spool.db").open()
    assert {path.stat().st_uid for path in eve.iterdir()} == {EVE}


def test_as_eve_nothing_is_imported_which_she_may_not_be_able_to_read(eve: Path) -> None:
    program = f"""
import os, sys
from tdbwatch.cli.app import main
def audit(event, args):
    if event == "import" and os.geteuid() != 0:
        os.write(2, b"as eve: %r" % args[0].encode())
        os._exit(1)
sys.addaudithook(audit)
for command in {COMMANDS!r}:
    if os.fork() == 0:
        try:
            code = main(["spool", *command, "--config", {str(eve.parent / "prod.yaml")!r}])
        finally:
            sys.stdout.flush()
            os._exit(code)
    assert os.wait()[1] == 0, command
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
