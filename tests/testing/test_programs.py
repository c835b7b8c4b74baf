"""Servers that tests start: they end with the tests, however these end."""

import socket
import subprocess
import sys
import time
from unittest import SkipTest

import pytest

from tdbwatch.testing import Program, free_port, program_path


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def server(port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]


def test_it_is_there_killed_and_there_again(tmp_path):
    with Program(server(port := free_port()), port, tmp_path) as program:
        assert listens(port)
        program.kill()
        assert not listens(port)
        program.start()
        assert listens(port)
    assert not listens(port)


def test_it_ends_with_a_run_of_tests_that_is_killed(tmp_path):
    code = (
        "import os, pathlib, sys\n"
        "from tdbwatch.testing import Program\n"
        f"Program({server(port := free_port())!r}, {port}, pathlib.Path({str(tmp_path)!r})).start()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == -9
    until = time.monotonic() + 20
    while listens(port) and time.monotonic() < until:
        time.sleep(0.01)
    assert not listens(port)


def test_one_that_ends_at_once_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("tdbwatch.testing.programs._TO_START", 0.5)
    command = [sys.executable, "-c", "raise SystemExit('no such luck')"]

    def never_after_it_spoke():
        until = time.monotonic() + 20
        while not (tmp_path / "output").read_text() and time.monotonic() < until:
            time.sleep(0.01)
        return False

    with pytest.raises(RuntimeError, match="no such luck"):
        Program(command, free_port(), tmp_path, ready=never_after_it_spoke).start()


def test_one_that_is_not_installed_skips_the_test():
    with pytest.raises(SkipTest, match="no-such-server is not installed"):
        program_path("no-such-server")
