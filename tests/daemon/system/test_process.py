"""What the process asks of the system, and of systemd, however it is started."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tdbwatch.daemon.system import process
from tdbwatch.daemon.system.systemd import Notifier


def run(code: str, **arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, **arguments
    )  # type: ignore[call-overload]
    return str(done.stdout)


def test_the_soft_limit_of_open_files_is_raised_as_far_as_it_goes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, process.WANTED_FILES) if hard != resource.RLIM_INFINITY else process.WANTED_FILES
    assert run(
        "import resource; from tdbwatch.daemon.system import process\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({min(soft, 256)}, {hard}))\n"
        "process.settle_in(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    ).strip() == str(wanted)


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o077, 0o600), (0o022, 0o640)])
def test_others_cannot_write_what_we_make_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    file = tmp_path / "made"
    run(
        f"import os; os.umask({umask}); from tdbwatch.daemon.system import process\n"
        f"process.settle_in(); os.close(os.open({str(file)!r}, os.O_CREAT | os.O_WRONLY, 0o666))"
    )
    assert file.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_file_of_ours_takes_the_place_of_a_standard_one_that_is_closed(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    said = tmp_path / "said"
    shut = " ".join(f"{fd}>&-" for fd in closed)
    code = (
        "import os, sys; from tdbwatch.daemon.system import process; process.open_standard_files()\n"
        f"fd = os.open({str(said)!r}, os.O_CREAT | os.O_WRONLY)\n"
        "print('to nobody', file=sys.stderr); print('to nobody'); os.write(fd, str(fd > 2).encode())"
    )
    subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {shut}', sys.executable, code],
        timeout=30, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert said.read_text() == "True"


async def test_as_pid_1_it_takes_leave_of_processes_that_nobody_waits_for() -> None:
    strangers = os.posix_spawn("/bin/true", ["true"], {})
    while strangers not in process.ended_children():
        await asyncio.sleep(0.01)
    own = await asyncio.create_subprocess_exec("/bin/sh", "-c", "read _; exit 7", stdin=subprocess.PIPE)
    reaping = asyncio.create_task(process.reap(0.01))
    try:
        while strangers in process.ended_children():
            await asyncio.sleep(0.01)
    finally:
        reaping.cancel()
    await own.communicate(
        b"\n"
    )  # after these looks, since such frequent ones could be before us when it ends
    assert own.returncode == 7, "our own are waited for by whoever started them"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "nonsense"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "1e6"}, None),
        ({}, None),
    ],
)
def test_systemd_is_given_signs_of_life_where_it_asks_us_for_them(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/nobody", **environ}).watchdog_interval == seconds


def test_what_systemd_is_told_is_one_message(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.ready("a room\nMAINPID=1\u202e")
        notifier.stopping()
        assert systemd.recv(1000).decode() == "READY=1\nSTATUS=a room\\nMAINPID=1\\u202e"


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_narrow_locale_keeps_no_command_from_saying_names(tmp_path: Path, locale: dict[str, str]) -> None:
    file = tmp_path / "übel-日本.yaml"
    file.write_text("nothing: here\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tdbwatch", "check", "--config", str(file)],
        capture_output=True, timeout=30, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", **locale},
    )  # fmt: skip
    assert done.returncode == os.EX_CONFIG
    assert "Traceback" not in done.stderr.decode()
    assert "bel-" in done.stderr.decode()
