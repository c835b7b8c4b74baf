"""Makes the man page and the shells' completions of the commands: `python packaging/pages.py FOLDER`."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from argparse_manpage.manpage import Manpage

from tdbwatch import __version__
from tdbwatch.cli.app import build_parser
from tdbwatch.cli.completions import completions

NAMES = {"bash": "tdbwatch.bash", "zsh": "_tdbwatch", "fish": "tdbwatch.fish"}
"""Files of completions, by shell."""
ABOUT = "react to ThingsDB events, as a service"
EXIT_STATUS = """\
0 fine, 64 wrong usage, 69 nothing to connect to, 70 a mistake of tdbwatch's, 73 the spool cannot be used, 74
the disk does not take it, 77 no permission, 78 bad configuration. Each command's help names its own."""
FILES = """\
.TP
.I /etc/tdbwatch/tdbwatch.yaml
the configuration of the service tdbwatch; /etc/tdbwatch/NAME.yaml that of tdbwatch@NAME
.TP
.I /var/lib/tdbwatch/spool.db
what was heard, until every sink has it"""


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """This one, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def examples(parser: argparse.ArgumentParser) -> str:
    """What help shows at its end, command by command."""
    parts = [".nf"]
    for below in list(parsers(parser))[1:]:
        if below.epilog:
            text = below.epilog.replace("\\", r"\e").replace("-", r"\-")
            lines = text.split("\n")
            parts += [f"\n\\fB{below.prog}\\fR", *(rf"\&{line}" for line in lines if line != "example:")]
    return "\n".join([*parts, ".fi"])


def man_page() -> str:
    """All commands with their options, and examples."""
    parser = build_parser()
    told = {"project_name": "tdbwatch", "version": __version__, "manual_title": "User commands"}
    page = Manpage(parser, told | {"description": ABOUT})
    page.add_section("examples", "=", examples(parser))
    page.add_section("exit status", "=", EXIT_STATUS.replace("\n", " "))
    page.add_section("files", "=", FILES)
    return str(page)


def write(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tdbwatch.1").write_text(man_page())
    for shell, name in NAMES.items():
        (folder / name).write_text(completions(build_parser(), shell) + "\n")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"  # whatever the terminal is like
    write(Path(sys.argv[1]))
