"""Plugins are told of start and stop, and keep neither from happening."""

import os
import sys
from pathlib import Path

import pytest

from .kit import HANGS, Write, load, only_problem

LIFE = """
from tdbwatch.plugin import hookimpl
told = []

@hookimpl
def tdbwatch_started(version):
    told.append(version)

@hookimpl
def tdbwatch_stopping():
    told.append("stopping")
"""


async def test_every_plugin_is_told_of_start_and_stop(folder: Path, write: Write) -> None:
    write("life.py", LIFE)
    registry = load(folder)
    await registry.notify_started("1.2.3")
    await registry.notify_stopping()
    assert sys.modules["tdbwatch_plugin_life"].told == ["1.2.3", "stopping"]  # type: ignore[attr-defined]
    assert registry.problems == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('sick')", "RuntimeError: sick"),
        ("raise SystemExit(1)", "it ended the program"),
        (HANGS, "did not return within"),
    ],
)
@pytest.mark.usefixtures("sure_calls")
async def test_a_plugin_that_fails_at_start_is_named_and_the_others_are_told(
    folder: Path, write: Write, body: str, said: str
) -> None:
    sick = write("a_sick.py", LIFE.replace("told.append(version)", body))
    write("life.py", LIFE)
    registry = load(folder, seconds=0.05)
    await registry.notify_started("1")
    problem = only_problem(registry)
    assert problem.plugin == "a_sick"
    assert said in problem.reason
    assert problem.where.startswith(f"{sick}:")
    assert sys.modules["tdbwatch_plugin_life"].told == ["1"]  # type: ignore[attr-defined]


async def test_hooks_run_off_the_event_loop(folder: Path, write: Write) -> None:
    write(
        "life.py",
        LIFE.replace("told.append(version)", "import threading; told.append(threading.get_ident())"),
    )
    registry = load(folder)
    await registry.notify_started("1")
    import threading

    assert sys.modules["tdbwatch_plugin_life"].told != [threading.get_ident()]  # type: ignore[attr-defined]


def test_no_thread_that_a_plugin_left_behind_keeps_the_process_alive(folder: Path, write: Write) -> None:
    import subprocess

    write("bad.py", "import threading\nthreading.Event().wait()\n")
    code = f"""
from pathlib import Path
from tdbwatch.daemon.plugins import load_plugins
load_plugins([Path({str(folder)!r})], import_seconds=0.1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0
    assert b"bad" in done.stdout
