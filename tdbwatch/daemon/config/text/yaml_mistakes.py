"""What is wrong with a text that is not YAML, in the words of people who write it."""

import re
from typing import Final

import yaml

NO_ALIAS: Final = "write the value out where it is needed; put text that begins with & or * in quotes"

ODD_SPACES: Final = "\u00a0\u2000-\u200b\u202f\u205f\u3000"
"""What pages, chats and editors make of spaces, for a regular expression."""
ODD_SPACE: Final = ("a space stands here that YAML does not take for one", "write an ordinary space")
_WHERE_SPACES_COUNT: Final = re.compile(f"^[ -]*([{ODD_SPACES}])|[:,]([{ODD_SPACES}])")
_PLAINER: Final = (
    ("found character '\\t'", "a tab stands where only spaces may", "indent with spaces"),
    ("mapping values are not allowed here", "a second `:` in one value, or a line indented too far",
     "put text that holds `: ` in quotes, and align keys of one mapping"),
    ("found unexpected end of stream", "a quote is opened here and never closed", "close the quote"),
    ("could not find expected ':'", "a key without `:`", "write `key: value`"),
    ("sequence entries are not allowed here", "no list item (-) can begin here", "give it a line of its own"),
    ("that cannot start any token", "text cannot begin with this character", "put the text in quotes"),
    ("expected <block end>", "this line does not fit what is above it", "check indentation and quotes"),
    ("tag", "a YAML tag (!) is not allowed here", "put text that begins with ! in quotes"),
    ("<stream end>", "the file ends inside a bracket", "close every [ and {"),
    ("expected ',' or", "a bracket is not closed before this", "close every [ and {, with commas between"),
    ("escape", "unknown escape in a quoted text", "use single quotes, or double the backslash"),
    ("alphabetic or numeric", "a name is missing after & or *", NO_ALIAS),
)  # fmt: skip


def explain(error: yaml.YAMLError, text: str) -> tuple[tuple[int, int], str, str]:
    """Where the syntax error is, and what it means. Texts of PyYAML that quote the file are not shown."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        place = (before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        return place, "this is not valid YAML: it holds a control character", "remove it"
    mark = getattr(error, "problem_mark", None)
    problem = f"{getattr(error, 'problem', '')} {getattr(error, 'context', '')}"
    if "never closed" in _plainer(problem)[0]:
        mark = getattr(error, "context_mark", mark)
    place = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        problem = _PLAINER[0][0]
    if re.search(r"\$\{[^}]*\Z", line[: place[1]]):
        return place, "this is not valid YAML: a ${NAME} without quotes inside { }", 'write "${NAME}"'
    for number in (place[0] - 1, place[0]):
        if 0 < number <= len(lines) and (odd := _WHERE_SPACES_COUNT.search(lines[number - 1])):
            return (number, odd.end()), f"this is not valid YAML: {ODD_SPACE[0]}", ODD_SPACE[1]
    message, hint = _plainer(problem)
    return place, f"this is not valid YAML: {message}", hint


def _plainer(problem: str) -> tuple[str, str]:
    for part, message, hint in _PLAINER:
        if part in problem:
            return message, hint
    return "the text breaks off or goes wrong here", "check quotes, brackets and indentation"
