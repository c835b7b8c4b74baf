"""What is installed beside the program: the unit, the examples and the pages, where each other names them."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd" / "tdbwatch.service"
UNITS = [UNIT, ROOT / "systemd" / "tdbwatch@.service"]
OPERATIONS = ROOT / "docs" / "operations.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CHANGELOG.md"]
PREFIX = "/opt/tdbwatch/"
"""Where the unit and the pages have the venv."""


def installed() -> set[str]:
    """What lies beside the program, as paths from the venv's folder."""
    paths = (str(path) for path in distribution("tdbwatch").files or ())
    return {path[path.index("share/") :] for path in paths if "share/doc/" in path}


def test_the_documentation_that_the_unit_names_is_installed():
    [page] = re.findall(rf"^Documentation=file:{PREFIX}(.*)$", UNIT.read_text(), re.MULTILINE)
    assert page in installed()


def test_what_the_pages_copy_from_the_venv_is_installed():
    named = set(re.findall(rf"{PREFIX}(share/[\w./-]+\.\w+)", OPERATIONS.read_text()))
    assert named
    assert named <= installed()


@pytest.mark.parametrize("folder", ["docs", "config", "systemd"])
def test_whole_folders_are_installed(folder):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared[folder] == f"share/doc/tdbwatch/{folder}"


def anchors(page):
    """What a link into the page may name, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_each_page_begins_with_what_it_is_good_for(page):
    start = page.read_text().split("\n\n")[1]
    assert start.startswith(("After this page you ", "Here you can "))


def test_the_unit_reads_the_credential_that_the_pages_make():
    line = "LoadCredential=thingsdb-token:/etc/tdbwatch/credentials/thingsdb-token"
    assert f"\n#{line}\n" in UNIT.read_text(), "as a comment: it may have another name, or none"
    assert f"\n{line}\n" in OPERATIONS.read_text()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_no_fault_with_the_unit(tmp_path, unit):
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("needs systemd-analyze")
    copy = tmp_path / unit.name.replace("@", "@ops")
    copy.write_text(unit.read_text().replace(f"{PREFIX}bin/tdbwatch", "/bin/true"))
    for check in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        ran = subprocess.run(
            [analyze, "--no-pager", *check, copy], check=False, capture_output=True, text=True, timeout=30
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr


def test_the_template_differs_from_the_unit_in_names_alone():
    one, template = (unit.read_text().partition("[Unit]")[2] for unit in UNITS)
    one = one.replace("ThingsDB events", "ThingsDB events (%i)")
    one = one.replace("/etc/tdbwatch/tdbwatch.yaml", "/etc/tdbwatch/%i.yaml")
    one = one.replace("/etc/tdbwatch/environment", "/etc/tdbwatch/%i.environment")
    one = re.sub(r"(Directory=|/var/log/)tdbwatch\b", r"\1tdbwatch-%i", one)
    assert template == one
