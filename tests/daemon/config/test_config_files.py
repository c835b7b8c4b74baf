"""Who can read and write the configuration, its secrets' files and the folders above them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.config import ConfigError, Problem, load, read
from tdbwatch.daemon.security.trust import why_not_trusted
from tdbwatch.plugin import SinkType

from .config_kit import Idle

TYPES = {"log": SinkType("log", Idle)}
TEXT = """\
thingsdb:
  nodes: [node01]
  auth: {%s}
rooms: [alerts]
sinks: {console: {type: log}}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder to which the way is open, as to /etc."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    folder = base / "etc"
    folder.mkdir()
    yield folder
    shutil.rmtree(base)


def write(folder: Path, auth: str, mode: int = 0o600) -> Path:
    path = folder / "prod.yaml"
    path.write_text(TEXT % auth)
    path.chmod(mode)
    return path


def secret(folder: Path, mode: int) -> Path:
    path = folder / "token"
    path.write_text("s3same\n")
    path.chmod(mode)
    return path


def warnings(path: Path, **environ: str) -> list[Problem]:
    return list(load(path, TYPES, environ).warnings)


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path, TYPES, {})
    return str(refused.value).splitlines()


def test_a_secrets_file_that_everyone_can_read_is_a_warning_at_its_key(folder: Path) -> None:
    path, token = write(folder, "token_file: token", 0o644), secret(folder, 0o644)
    [warning] = warnings(path)
    assert str(warning) == (
        f"{path}:3:22: thingsdb.auth.token: warning: everyone on this machine can read this secret's file\n"
        f"    run `chmod o-r {token}`"
    )
    token.chmod(0o640)
    assert warnings(path) == [], "and the configuration holds no secret"
    token.chmod(0o644)
    folder.chmod(0o750)
    assert warnings(path) == [], "nobody else comes so far"


def test_a_configuration_with_a_secret_that_everyone_can_read_is_a_warning(folder: Path) -> None:
    path = write(folder, "token: s3same", 0o644)
    [warning] = warnings(path)
    assert warning.message == "this secret stands in a configuration that everyone on this machine can read"
    assert warning.hint == f"run `chmod o-r {path}`"
    assert warnings(write(folder, "token: s3same", 0o640)) == []
    assert warnings(write(folder, "token: '${TOKEN}'", 0o644), TOKEN="s3same") == []


@pytest.mark.parametrize(("mode", "who"), [(0o620, "its group"), (0o602, "everyone")])
def test_a_configuration_that_others_can_write_is_refused(folder: Path, mode: int, who: str) -> None:
    path = write(folder, "token: s3same", mode)
    said = [f"{path}:1:1: {path} is writable by {who}", f"    run `chmod go-w {path}`"]
    assert problems(path) == said
    with pytest.raises(ConfigError, match="is writable by"):
        read(path).check(TYPES)


def test_a_secrets_file_that_others_can_write_is_refused_at_its_key(folder: Path) -> None:
    path, token = write(folder, "token_file: token"), secret(folder, 0o622)
    said = f"{path}:3:22: thingsdb.auth.token: {token} is writable by everyone"
    assert problems(path) == [said, f"    run `chmod go-w {token}`"]


@pytest.mark.parametrize("above", ["", ".."])
def test_a_folder_above_that_others_can_write_is_refused_unless_it_is_sticky(
    folder: Path, above: str
) -> None:
    path, place = write(folder, "token: s3same"), (folder / above).resolve()
    place.chmod(0o777)
    assert problems(path) == [f"{path}:1:1: {place} is writable by everyone", f"    run `chmod go-w {place}`"]
    place.chmod(0o1777)
    assert warnings(path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_root_runs_no_configuration_of_another_user_but_checks_it(folder: Path) -> None:
    path, token = write(folder, "token_file: token"), secret(folder, 0o600)
    os.chown(token, 64_123, 64_123)
    assert warnings(path) == [], "who issues a secret owns its file"
    os.chown(path, 64_123, 64_123)
    assert "belongs to user 64123, who could put anything into it" in problems(path)[0]
    [warning] = read(path, {}).check(TYPES).warnings
    assert "belongs to user 64123" in warning.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_group_in_which_only_the_user_is_counts_as_the_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, "token: s3same", 0o660)
    os.chown(path, 64_123, 64_124)
    members: list[str] = []
    user: Any = type("User", (), {"pw_gid": 64_124, "pw_name": "ops"})
    group: Any = type("Group", (), {"gr_name": "ops", "gr_mem": members})
    monkeypatch.setattr("pwd.getpwuid", lambda _: user)
    monkeypatch.setattr("grp.getgrgid", lambda _: group)
    monkeypatch.setattr("os.geteuid", lambda: 64_123)
    assert why_not_trusted(path) is None
    members.append("eve")
    assert why_not_trusted(path) is not None
