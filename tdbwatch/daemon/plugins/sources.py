"""Where plugins come from: entry points, tdbwatch's own among them, and files in folders."""

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType
from typing import Any, Final

from tdbwatch import __version__
from tdbwatch.daemon.security.trust import why_not_trusted

GROUP: Final = "tdbwatch"
_MEANT_BY_IMPORT: Final = re.compile(r"[.%]")
"""What a module's name cannot have of its file's; all else stays, so that no two files have one name."""
_API: Final = re.compile(r"^__tdbwatch_api__ *= *([0-9]{1,9})\b", re.MULTILINE)
BUILT_IN: Final = {
    "log": "tdbwatch.sinks.log",
    "file": "tdbwatch.sinks.file",
    "webhook": "tdbwatch.sinks.webhook",
    "exec": "tdbwatch.sinks.exec",
    "thingsdb": "tdbwatch.sinks.thingsdb",
}
"""What the package's own entry points say; for running from a tree that was not installed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that was found but not imported yet."""

    name: str
    origin: str
    version: str
    files: str
    """Path of its file, or of its package's folder: code under it is the plugin's own. May be empty."""
    stamp: str
    """Another one where its code is another; of a package, as far as an installer changed it."""
    load: Callable[[], Any]

    @property
    def is_file(self) -> bool:
        """Whether it is a file in a folder, and no package."""
        return self.origin == self.files


@dataclass(frozen=True, slots=True)
class Refused:
    """A plugin, or a folder of them, that is not even imported."""

    name: str
    where: str
    reason: str
    remedy: str


def find(paths: Sequence[Path]) -> Iterator[Candidate | Refused]:
    """All plugins: tdbwatch's own, then the installed ones by name, then files in the order of `paths`."""
    installed = sorted(entry_points(group=GROUP), key=_rank)
    ours = {point.name: point for point in installed if _is_ours(point)}
    for name, module in BUILT_IN.items():
        yield _from_entry_point(ours.get(name) or EntryPoint(name, module, GROUP))
    for point in installed:
        if not _is_ours(point):
            yield _from_entry_point(point)
    for folder in paths:
        yield from _in_folder(folder)


def _rank(point: EntryPoint) -> tuple[str, str]:
    """By name; of one name, by package: the order of a folder on disk must not decide what is loaded."""
    return point.name, point.dist.name if point.dist else ""


def _is_ours(point: EntryPoint) -> bool:
    return BUILT_IN.get(point.name) == point.value


def _from_entry_point(point: EntryPoint) -> Candidate:
    if _is_ours(point):
        return Candidate(point.name, "built-in", __version__, "", "", point.load)
    package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    version = point.dist.version if point.dist else ""
    stamp = _digest(((point.dist and point.dist.read_text("RECORD")) or "").encode())
    return Candidate(point.name, f"package {package}", version, _folder_of(point), stamp, point.load)


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


def _folder_of(point: EntryPoint) -> str:
    """Where the package's code is, so that it can be blamed; found without importing it."""
    try:
        spec = importlib.util.find_spec(point.module.partition(".")[0])
    except (ImportError, ValueError, AttributeError):
        return ""
    origin = spec.origin if spec else None
    if origin is None:
        return ""
    return str(Path(origin).parent if Path(origin).name == "__init__.py" else origin)


def _in_folder(folder: Path) -> Iterator[Candidate | Refused]:
    try:
        if distrust := why_not_trusted(folder):
            yield Refused(folder.name, str(folder), distrust.reason, distrust.remedy)
            return
        found = sorted(file for file in folder.iterdir() if _is_plugin_name(file.stem))
        files = [file for file in found if file.suffix == ".py"]
        packages = [file for file in found if (file / "__init__.py").is_file()]
    except OSError as error:
        remedy = "make it, or take it out of plugins.paths"
        yield Refused(folder.name, str(folder), f"the folder cannot be read: {error.strerror}", remedy)
        return
    for file in files:
        yield _from_file(file)
    for package in packages:
        reason = "a folder in plugins.paths is no plugin; each file there stands alone"
        remedy = "install it as a package with an entry point, or begin its name with _ if it is none"
        yield Refused(package.name, str(package), reason, remedy)


def _is_plugin_name(stem: str) -> bool:
    return not stem.startswith((".", "_"))  # editors' temporary files, and what is not meant as a plugin


def _from_file(file: Path) -> Candidate | Refused:
    try:
        distrust = why_not_trusted(file)
        stamp = "" if distrust else _digest(file.read_bytes())
    except OSError as error:
        remedy = "let the daemon's user read it, or take it away"
        return Refused(file.stem, str(file), f"the file cannot be read: {error.strerror}", remedy)
    if distrust:
        return Refused(file.stem, str(file), distrust.reason, distrust.remedy)
    return Candidate(file.stem, str(file), "", str(file), stamp, lambda: _import_file(file))


def api_version_in(plugin: Candidate) -> int | None:
    """What its code says that it needs, read without importing it; None: it does not say."""
    place = Path(plugin.files or os.devnull)
    try:
        code = (place / "__init__.py" if place.is_dir() else place).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    found = _API.search(code)
    return int(found[1]) if found else None


class _SourceLoader(SourceFileLoader):
    """Always reads the source: no `.pyc` from elsewhere may stand in for the file that was checked."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_file(file: Path) -> Any:
    name = "tdbwatch_plugin_" + _MEANT_BY_IMPORT.sub(lambda found: f"%{ord(found[0]):x}", file.stem)
    spec = importlib.util.spec_from_file_location(name, file, loader=_SourceLoader(name, str(file)))
    assert isinstance(spec, ModuleSpec)
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic and pickle look a class's module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
