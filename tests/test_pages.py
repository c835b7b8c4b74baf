"""The man page and the completions are made of the commands, and have each of them."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdbwatch.cli.app import build_parser, main
from tdbwatch.cli.completions import SHELLS, completions

PAGES = Path(__file__).parents[1] / "packaging" / "pages.py"
COMPLETE = """
source /dev/stdin <<< "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_shtab_tdbwatch 2> /dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield below
                yield from commands(below)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, PAGES, folder], check=True, timeout=30)
    return folder


def test_the_man_page_has_every_command_with_every_option(made: Path) -> None:
    page = (made / "tdbwatch.1").read_text().replace(r"\-", "-").replace(r"\fR", "").replace(r"\fB", "")
    for command in commands(build_parser()):
        assert f"'{command.prog}'" in page, command.prog
        for action in command._actions:
            assert action.help == argparse.SUPPRESS or all(each in page for each in action.option_strings), (
                action.option_strings
            )
    assert "tdbwatch - react to ThingsDB events" in page
    assert r"\&  tdbwatch plugins new tickets" in page, "the examples"


def test_the_formatter_of_man_pages_has_no_complaint(made: Path) -> None:
    if (groff := shutil.which("groff")) is None:
        pytest.skip("needs groff")
    ran = subprocess.run(
        [groff, "-man", "-ww", "-z", "-Tutf8", made / "tdbwatch.1"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_have_every_command(made: Path, shell: str) -> None:
    names = {"bash": "tdbwatch.bash", "zsh": "_tdbwatch", "fish": "tdbwatch.fish"}
    text = (made / names[shell]).read_text()
    for command in commands(build_parser()):
        assert command.prog.rpartition(" ")[2] in text
    assert "--exit-when-unreachable" in text or "exit-when-unreachable" in text


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sp"], {"spool"}),
        (["spool", "li"], {"list"}),
        (["completions", ""], set(SHELLS)),
        (["run", "--exit"], {"--exit-when-unreachable"}),
        (["check", "--config", "/etc/host"], {"/etc/hosts", "/etc/hostname"}),
    ],
)
def test_bash_completes_commands_options_and_files(typed: list[str], offered: set[str]) -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("needs bash")
    script = completions(build_parser(), "bash")
    ran = subprocess.run(
        [bash, "--norc", "-c", COMPLETE, "x", script, "tdbwatch", *typed],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert offered <= set(ran.stdout.split())


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completions", "bash"]) == 0
    assert capsys.readouterr().out == completions(build_parser(), "bash") + "\n"


def test_without_what_makes_them_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completions", "zsh"]) == 69
    assert "pip install shtab" in capsys.readouterr().err
