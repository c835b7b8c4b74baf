"""Reads the table of behaviours: the Markdown files beside this one, written as `README.md` says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
CONNECTOR: Final = HERE.parents[2] / "docs" / "connector.md"
NEVER_ENDS: Final = "(never ends)"
"""Stands for the end of a program that has none."""


class TableError(Exception):
    """A file of the table, or the document that it refers to, cannot be read; the message says where."""


@dataclass(frozen=True)
class Behaviour:
    """One entry.

    Attributes:
        claim: the heading.
        topic: the file.
        program: Python, written for python-thingsdb.
        is_whole: the program is not the body of `main(client)` but all of it.
        shows: what it prints here.
        theirs: what it prints with python-thingsdb.
        differs: the row of `docs/connector.md` that says why these two are not the same.
        needs_thingsdb: the embedded node cannot answer it.
    """

    topic: str
    claim: str
    program: str
    is_whole: bool
    shows: str
    theirs: str
    differs: str | None
    needs_thingsdb: bool

    def __str__(self) -> str:
        return f"{self.topic}: {self.claim}"


def behaviours() -> list[Behaviour]:
    """Every entry of every file."""
    files = sorted(path for path in HERE.glob("*.md") if path.name != "README.md")
    return [entry for path in files for entry in _entries(path)]


def differences() -> set[str]:
    """The first cells of the tables that `docs/connector.md` has under *What differs*."""
    rows = _section("## What differs")
    return {row.split("|")[1].strip() for row in rows if row.startswith("| ")} - {"python-thingsdb"}


def switch(program: str) -> str:
    """The program with its imports changed by the command that `docs/connector.md` has for it."""
    found = re.search(r"^sed -i -E 's/(.+)/(.+)/g'", "\n".join(_section("## Switching")), re.MULTILINE)
    if found is None:
        raise TableError("docs/connector.md, Switching from python-thingsdb, has no sed command")
    return re.sub(found[1], found[2], program)


def _section(heading: str) -> list[str]:
    text = CONNECTOR.read_text("utf-8").split(f"\n{heading}", 1)
    if len(text) != 2:
        raise TableError(f"docs/connector.md has no {heading!r}")
    return text[1].split("\n## ", 1)[0].splitlines()


def _entries(path: Path) -> Iterator[Behaviour]:
    _, *parts = path.read_text("utf-8").split("\n## ")
    for part in parts:
        claim, _, text = part.partition("\n")
        try:
            yield _entry(path.stem, claim.strip(), text)
        except TableError as error:
            raise TableError(f"{path.name}: {claim}: {error}") from None


def _entry(topic: str, claim: str, text: str) -> Behaviour:
    blocks = dict(re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    programs = [info for info in ("python", "python whole") if info in blocks]
    if len(programs) != 1 or "text" not in blocks:
        raise TableError(f"an entry has one program and what it shows, but this one has {sorted(blocks)}")
    differs = re.search(r"^Differs: (.+)$", text, re.MULTILINE)
    if (differs is not None) != ("text python-thingsdb" in blocks):
        raise TableError("what python-thingsdb shows stands with `Differs:` and the row that says why")
    shows = blocks["text"].strip()
    return Behaviour(
        topic=topic,
        claim=claim,
        program=blocks[programs[0]],
        is_whole=programs == ["python whole"],
        shows=shows,
        theirs=blocks.get("text python-thingsdb", shows).strip(),
        differs=differs and differs[1].strip(),
        needs_thingsdb="Needs ThingsDB.\n" in text,
    )
