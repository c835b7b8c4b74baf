"""YAML text to a `Tree`: the part of YAML that a configuration needs, and nothing that surprises.

Scalars follow the core schema of YAML 1.2: only `true` and `false` are booleans, and `12:30` is text.
Aliases, anchors, merge keys, tags and several documents are refused: none is needed here, and they are how
a small file becomes a huge one. The text is read event by event, so limits hold before anything grows.
"""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tdbwatch.daemon.config.problems import ConfigError, Path, Problem, show_path
from tdbwatch.daemon.config.tree import Place, Tree

MAX_DEPTH: Final = 32
_MAX_PROBLEMS: Final = 100
_MAX_DIGITS: Final = 100

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def resolve_scalar(text: str) -> Any:
    """The value of a scalar without quotes, by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) <= _MAX_DIGITS and _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def parse_yaml(text: str, file: str) -> Tree:
    """The tree of one YAML document. What can be read in spite of a problem is; see `Tree.problems`.

    Raises:
        ConfigError: the text is not YAML, or nested too deeply.
    """
    builder = _Builder(Tree(file))
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.feed(event)
            if len(builder.tree.problems) >= _MAX_PROBLEMS:
                raise ConfigError(builder.tree.problems)
    except yaml.YAMLError as error:
        builder.stop(*_explain(error, text))
    except (ValueError, OverflowError):  # PyYAML lets chr() and int() of odd escapes and directives through
        message = "this is not valid YAML: an escape or a directive has an impossible number"
        builder.stop((1, 1), message, "look for a backslash in quotes, or a % at the beginning of a line")
    return builder.tree


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being read."""

    container: Any
    path: Path
    key: str | None = None
    """The key that waits for its value."""
    awaits_value: bool = False


@dataclass(slots=True)
class _Builder:
    tree: Tree
    frames: list[_Frame] = field(default_factory=list)
    documents: int = 0
    stray: int = 0
    """How many keys of mappings with wrong keys were given made-up names."""

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._begin_document(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._check(event)
            plain = event.style is None and event.implicit[0]
            self._scalar(resolve_scalar(event.value) if plain else event.value, event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.frames.pop()

    def _alias(self, event: yaml.AliasEvent) -> None:
        message = "an alias (*) is not allowed here"
        if self._is_key():
            self._refuse(event, message, _NO_ALIAS)
            self._take_key(self._stray_key(), event)
        else:
            self.tree.complain(self._add(None, event), message, _NO_ALIAS)

    def stop(self, place: Place, message: str, hint: str = "") -> None:
        problem = Problem(self.tree.file, *place, self._here(), message, hint)
        raise ConfigError([*self.tree.problems, problem]) from None

    def _begin_document(self, event: yaml.DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop(_place(event), "a second YAML document begins here (---)", "keep one document a file")

    def _open(self, container: Any, event: Any) -> None:
        self._check(event)
        if len(self.frames) >= MAX_DEPTH:
            self.stop(_place(event), f"nested more than {MAX_DEPTH} levels deep", "close brackets earlier")
        if self._is_key():
            self._refuse(event, "a key must be text", "a list or a mapping cannot be a key")
            path = self._take_key(self._stray_key(), event)
            self.frames.append(_Frame(container, path))  # read and forgotten
            return
        path = self._add(container, event)
        self.frames.append(_Frame(container, path))

    def _scalar(self, value: Any, event: Any) -> None:
        if self._is_key():
            self._key(value, event)
            return
        torn = isinstance(value, str) and _SURROGATE.search(value) is not None
        path = self._add("" if torn else value, event)
        if torn:
            self.tree.complain(path, "holds half a surrogate pair, which is no Unicode text", _WHOLE)
        if isinstance(value, str) and event.style is None:
            self.tree.plain.add(path)
        elif event.style in ("|", ">"):
            self.tree.blocks.add(path)

    def _key(self, value: Any, event: Any) -> None:
        if not isinstance(value, str) or not value or not value.isprintable():
            text = getattr(event, "value", "")
            self._refuse(event, "a key must be text", f'put it in quotes: "{text}"' if text.isalnum() else "")
            value = self._stray_key()
        elif value == "<<" and event.style is None:
            self._refuse(event, "a merge key (<<) is not allowed here", _NO_ALIAS)
        self._take_key(value, event)

    def _stray_key(self) -> str:
        """A name for a key that cannot be one, so that reading goes on. No real key holds a NUL."""
        self.stray += 1
        return f"\0{self.stray}"

    def _take_key(self, key: str, event: Any) -> Path:
        frame = self.frames[-1]
        path = (*frame.path, key)
        if key in frame.container:
            first = self.tree.keys[path][0]
            what = "two sinks have this name" if frame.path == ("sinks",) else "this key is written twice"
            self._refuse(event, f"{what}; the first is on line {first}", "rename or remove one", path)
        else:
            self.tree.keys[path] = _place(event)
        frame.key, frame.awaits_value = key, True
        return path

    def _add(self, value: Any, event: Any) -> Path:
        if not self.frames:
            self.tree.data = value
            path: Path = ()
        else:
            frame = self.frames[-1]
            if isinstance(frame.container, list):
                path = (*frame.path, len(frame.container))
                frame.container.append(value)
            else:
                assert frame.key is not None
                path = (*frame.path, frame.key)
                if not frame.key.startswith("\0"):
                    frame.container.setdefault(frame.key, value)
                frame.awaits_value = False
        self.tree.values.setdefault(path, _place(event))
        return path

    def _is_key(self) -> bool:
        return (
            bool(self.frames)
            and isinstance(self.frames[-1].container, dict)
            and not self.frames[-1].awaits_value
        )

    def _check(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, "an anchor (&) is not allowed here", _NO_ALIAS)
        if event.tag is not None:
            self._refuse(event, "a YAML tag (!) is not allowed here", "put text that begins with ! in quotes")

    def _refuse(self, event: Any, message: str, hint: str, path: Path | None = None) -> None:
        where = self._here() if path is None else show_path(path)
        problem = Problem(self.tree.file, *_place(event), where, message, hint)
        self.tree.problems.append(problem)

    def _here(self) -> str:
        if not self.frames:
            return ""
        frame = self.frames[-1]
        path = frame.path
        if isinstance(frame.container, list):
            path = (*path, len(frame.container))
        elif frame.awaits_value and frame.key:
            path = (*path, frame.key)
        real = itertools.takewhile(lambda part: isinstance(part, int) or not part.startswith("\0"), path)
        return show_path(tuple(real))


_WHOLE: Final = "write the character itself, or a whole pair"
_NO_ALIAS: Final = "write the value out where it is needed; put text that begins with & or * in quotes"

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
    ("alphabetic or numeric", "a name is missing after & or *", _NO_ALIAS),
)  # fmt: skip


def _explain(error: yaml.YAMLError, text: str) -> tuple[Place, str, str]:
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
    message, hint = _plainer(problem)
    return place, f"this is not valid YAML: {message}", hint


def _plainer(problem: str) -> tuple[str, str]:
    for part, message, hint in _PLAINER:
        if part in problem:
            return message, hint
    return "the text breaks off or goes wrong here", "check quotes, brackets and indentation"


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1
