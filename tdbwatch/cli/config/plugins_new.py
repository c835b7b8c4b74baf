"""`tdbwatch plugins new`: a package to begin with, whose tests pass."""

import argparse
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say

_FILES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "plugin.py.txt": "$module/__init__.py",
    "test_plugin.py.txt": "tests/test_$name.py",
    "test.yml.txt": ".github/workflows/test.yml",
}
_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,31}")
_EXAMPLE: Final = """\
example:
  tdbwatch plugins new tickets        writes tdbwatch-tickets/
  cd tdbwatch-tickets && pip install -e '.[test]' && pytest"""


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "new",
        help="write a package to begin with",
        description="Write a package with a sink, its options, tests and what CI needs.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("name", metavar="NAME", help="the plugin's name: small letters and digits")
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="DIR", help="where to put the package (here)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the package; returns the exit code."""
    from tdbwatch.daemon.plugins.sources import BUILT_IN
    from tdbwatch.plugin import API_VERSION

    name: str = options.name
    if not _NAME.fullmatch(name):
        raise CommandError(
            exits.USAGE, f"{name!r} cannot be the name: use small letters and digits, a letter first"
        )
    if name in BUILT_IN:
        raise CommandError(
            exits.USAGE, f"{name} is a plugin of tdbwatch itself, which would win; take another name"
        )
    package = options.folder / f"tdbwatch-{name}"
    words = {"name": name, "package": package.name, "module": f"tdbwatch_{name}", "api": str(API_VERSION)}
    words["class"] = name.capitalize()
    try:
        package.mkdir()
        for source, target in _FILES.items():
            _write(package / Template(target).substitute(words), source, words)
    except FileExistsError:
        raise CommandError(
            exits.CANNOT_WRITE, f"{package} is there already; remove it, or take another name"
        ) from None
    except OSError as error:
        raise CommandError(exits.CANNOT_WRITE, f"{error.filename}: {error.strerror}") from error
    say(f"{package} is written. Next: cd {package} && pip install -e '.[test]' && pytest")
    return exits.OK


def _write(target: Path, source: str, words: dict[str, str]) -> None:
    text = files("tdbwatch.cli.config").joinpath("starter", source).read_text(encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template(text).substitute(words), encoding="utf-8")
