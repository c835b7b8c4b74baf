"""A configuration that cannot be read at all is an error with its path and the remedy."""

import os
from pathlib import Path

import pytest

from tdbwatch.daemon.config import ConfigError, load, read

from .config_errors_kit import TYPES, with_


def test_a_file_that_is_missing(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory\n    check the path"):
        read(tmp_path / "no.yaml", {})


def test_a_folder(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: it is a folder\n    name a file"):
        load(tmp_path, TYPES, {})


def test_a_fifo_is_refused_rather_than_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="it is not a regular file"):
        read(tmp_path / "fifo", {})


def test_a_huge_file_is_not_read(tmp_path: Path):
    (tmp_path / "huge.yaml").write_bytes(b"#" * 600_000)
    with pytest.raises(ConfigError, match="it is larger than 512 KiB"):
        read(tmp_path / "huge.yaml", {})


def test_a_path_that_no_file_can_have():
    with pytest.raises(ConfigError, match="not a file's path"):
        read("a\0b", {})


@pytest.fixture
def unreadable(tmp_path: Path):
    """A file that we may not read. root may read everything, so for a while we are not root."""
    file = tmp_path / "c.yaml"
    file.write_text(with_())
    file.chmod(0)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    yield file
    os.seteuid(mine)


def test_a_file_without_the_right_to_read_it(unreadable: Path):
    with pytest.raises(ConfigError, match="Permission denied\n    give the user that runs tdbwatch"):
        read(unreadable, {})
