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

from tdbwatch.daemon.config.problems import ConfigError, Path, Place, Problem, show_path
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.config.text.yaml_mistakes import NO_ALIAS, ODD_SPACE, ODD_SPACES, explain

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


def parse_yaml(text: str, file: str, tree: Tree | None = None) -> Tree:
    """The tree of one YAML document. What can be read in spite of a problem is; see `Tree.problems`.

    Args:
        tree: of the files before this one, to which it is added: sections are merged, and lists at the top
            go on; the same key twice is a problem.

    Raises:
        ConfigError: the text is not YAML, or nested too deeply. Its problems are all of the tree's.
    """
    builder = _Builder(Tree(file) if tree is None else tree, file, is_first=tree is None)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.feed(event)
            if len(builder.tree.problems) >= _MAX_PROBLEMS:
                raise ConfigError(builder.tree.problems)
    except yaml.YAMLError as error:
        place, message, hint = explain(error, text)
        builder.stop(Place(file, *place), message, hint)
    except (ValueError, OverflowError):  # PyYAML lets chr() and int() of odd escapes and directives through
        message = "this is not valid YAML: an escape or a directive has an impossible number"
        builder.stop(
            Place(file, 1, 1), message, "look for a backslash in quotes, or a % at the beginning of a line"
        )
    return builder.tree


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being read."""

    container: Any
    path: Path
    key: str | None = None
    """The key that waits for its value."""
    awaits_value: bool = False
    goes_on: bool = False
    """Whether the key is at the top, and a file before this one has it."""


@dataclass(slots=True)
class _Builder:
    tree: Tree
    file: str
    is_first: bool
    own: dict[Path, Place] = field(default_factory=dict)
    """The keys at the top of this file."""
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
            self._refuse(event, message, NO_ALIAS)
            self._take_key(self._stray_key(), event)
        else:
            self.tree.complain(self._add(None, event), message, NO_ALIAS)

    def stop(self, place: Place, message: str, hint: str = "") -> None:
        problem = Problem(*place, self._here(), message, hint)
        raise ConfigError([*self.tree.problems, problem]) from None

    def _begin_document(self, event: yaml.DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop(
                self._place(event), "a second YAML document begins here (---)", "keep one document a file"
            )

    def _open(self, container: Any, event: Any) -> None:
        self._check(event)
        if len(self.frames) >= MAX_DEPTH:
            self.stop(
                self._place(event), f"nested more than {MAX_DEPTH} levels deep", "close brackets earlier"
            )
        if self._is_key():
            self._refuse(event, "a key must be text", "a list or a mapping cannot be a key")
            path = self._take_key(self._stray_key(), event)
            self.frames.append(_Frame(container, path))  # read and forgotten
            return
        path = self._add(container, event)
        self.frames.append(_Frame(self._merged(container, path), path))

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
            if re.search(f"[{ODD_SPACES}]", text):
                self._refuse(event, *ODD_SPACE)
            else:
                quoted = f'put it in quotes: "{text}"' if text.isalnum() else ""
                self._refuse(event, "a key must be text", quoted)
            value = self._stray_key()
        elif value == "<<" and event.style is None:
            self._refuse(event, "a merge key (<<) is not allowed here", NO_ALIAS)
        self._take_key(value, event)

    def _stray_key(self) -> str:
        """A name for a key that cannot be one, so that reading goes on. No real key holds a NUL."""
        self.stray += 1
        return f"\0{self.stray}"

    def _take_key(self, key: str, event: Any) -> Path:
        frame = self.frames[-1]
        path = (*frame.path, key)
        frame.goes_on = not frame.path and key in frame.container and path not in self.own
        if not frame.path:
            self.own.setdefault(path, self._place(event))
        if key not in frame.container:
            self.tree.keys[path] = self._place(event)
        elif not frame.goes_on:
            self._twice(path, event)
        frame.key, frame.awaits_value = key, True
        return path

    def _twice(self, path: Path, event: Any) -> None:
        here = self._place(event)
        first = (self.own if path in self.own and not self.frames[-1].goes_on else self.tree.keys)[
            path
        ].seen_from(here)
        where = f"on {first}" if first.startswith("line ") else f"at {first}"
        what = "two sinks have this name" if path[:-1] == ("sinks",) else "this key is written twice"
        self._refuse(event, f"{what}; the first is {where}", "rename or remove one", path)

    def _add(self, value: Any, event: Any) -> Path:
        path: Path = ()
        if not self.frames:
            self._begin(value, event)
        else:
            frame = self.frames[-1]
            if isinstance(frame.container, list):
                path = (*frame.path, len(frame.container))
                frame.container.append(value)
            else:
                assert frame.key is not None
                path = (*frame.path, frame.key)
                if frame.goes_on:
                    self._go_on(path, value, event)
                elif not frame.key.startswith("\0"):
                    frame.container.setdefault(frame.key, value)
                frame.awaits_value = False
        self.tree.values.setdefault(path, self._place(event))
        return path

    def _begin(self, value: Any, event: Any) -> None:
        """Take the whole of the file."""
        if self.is_first:
            self.tree.data = value
        elif value is not None and not isinstance(value, dict):
            hint = "begin with a section, such as sinks: or routes:"
            self._refuse(event, "the file must hold a mapping (key: value)", hint, ())

    def _go_on(self, path: Path, value: Any, event: Any) -> None:
        """Take what this file has for a key at the top that one before it has as well."""
        before = self.tree.get(path)
        if before is None:
            self.tree.put(path, value)
            self.tree.keys[path] = self.tree.values[path] = self._place(event)
        elif value is not None and not (type(before) is type(value) and isinstance(value, dict | list)):
            self._twice(path, event)

    def _merged(self, container: Any, path: Path) -> Any:
        """Where the items of this mapping or list go: to those of files before, if they have one."""
        goes_on = not path or (len(path) == 1 and self.frames[-1].goes_on)
        before = self.tree.get(path)
        return before if goes_on and type(before) is type(container) else container

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _is_key(self) -> bool:
        return (
            bool(self.frames)
            and isinstance(self.frames[-1].container, dict)
            and not self.frames[-1].awaits_value
        )

    def _check(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, "an anchor (&) is not allowed here", NO_ALIAS)
        if event.tag is not None:
            self._refuse(event, "a YAML tag (!) is not allowed here", "put text that begins with ! in quotes")

    def _refuse(self, event: Any, message: str, hint: str, path: Path | None = None) -> None:
        where = self._here() if path is None else show_path(path)
        problem = Problem(*self._place(event), where, message, hint)
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
