"""What goes into Debian's package beside the program; `packaging/deb/try.sh` tries the whole."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tdbwatch.cli.app import main

ROOT = Path(__file__).parents[1]
DEB = ROOT / "packaging" / "deb"
UNITS = sorted((ROOT / "systemd").glob("*.service"))
SCRIPTS = ("build.sh", "try.sh", "postinst", "prerm", "postrm")


@pytest.fixture(params=UNITS, ids=lambda unit: unit.name)
def unit(request: pytest.FixtureRequest) -> str:
    """A unit as the package has it."""
    made = subprocess.run(
        ["sed", "-f", DEB / "units.sed", request.param],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return made.stdout


def test_a_unit_names_the_packages_own_places_and_user(unit: str) -> None:
    assert "/opt/tdbwatch" not in unit
    assert re.findall(r"^Exec\w+=(?!/usr/bin/tdbwatch )", unit, re.MULTILINE) == []
    assert re.findall(r"^(?:User|Group|DynamicUser)=.*", unit, re.MULTILINE) == [
        "User=tdbwatch",
        "Group=tdbwatch",
    ]


def test_systemd_finds_no_fault_with_it(unit: str, tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("needs systemd-analyze")
    file = tmp_path / "tdbwatch@ops.service"
    file.write_text(unit.replace("/usr/bin/tdbwatch", "/bin/true"))
    for check in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        ran = subprocess.run(
            [analyze, "--no-pager", *check, file], check=False, capture_output=True, text=True, timeout=30
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr


def test_the_configuration_that_it_brings_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thingsdb-token").write_text("t0ken\n")
    (tmp_path / "thingsdb-token").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert main(["check", "--config", str(DEB / "tdbwatch.yaml")]) == os.EX_OK
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS)
def test_its_scripts_are_shell_and_end_at_the_first_failure(script: str) -> None:
    path = DEB / script
    text = path.read_text()
    assert re.match(r"#!/bin/sh\n(#.*\n)*\n?set -eu?\n", text)
    subprocess.run(["sh", "-n", path], check=True, timeout=30)


def test_all_that_belongs_to_it_is_in_it() -> None:
    build = (DEB / "build.sh").read_text()
    beside = {"build.sh", "try.sh"}
    named = {path.name for path in DEB.iterdir() if path.name in build or path.stem in build}
    assert {path.name for path in DEB.iterdir()} - beside - named == set()
