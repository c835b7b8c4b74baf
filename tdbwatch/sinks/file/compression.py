"""Compressing a file that was set aside: in pieces, so that it can be given up at any time."""

import contextlib
import gzip
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, Literal

from tdbwatch.sinks.file.appender import sync_folder

SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst"}
PART: Final = ".part"
_CHUNK: Final = 1 << 20
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OLD: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class GivenUpError(Exception):
    """The work was asked to stop; the file is as it was."""


def compress(path: str, kind: Literal["gzip", "zstd"], stop: Callable[[], bool]) -> str:
    """Replace `path` by its compressed form and return that one's path. A crash leaves one or the other.

    Raises:
        OSError: the disk refuses; `path` is still there.
        GivenUpError: `stop()` became true; `path` is still there.
    """
    target = path + SUFFIXES[kind]
    part = target + PART
    try:
        Path(part).unlink(missing_ok=True)  # whoever's it is: we write into nothing that is there already
        with (
            os.fdopen(os.open(path, _OLD), "rb") as source,
            os.fdopen(os.open(part, _NEW, 0o640), "wb") as raw,
        ):
            with _writer(raw, kind) as packed:
                while piece := source.read(_CHUNK):
                    if stop():
                        raise GivenUpError(path)
                    packed.write(piece)
            raw.flush()
            os.fsync(raw.fileno())
        Path(part).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink(missing_ok=True)
        raise
    sync_folder(Path(target).parent)
    Path(path).unlink()
    return target


def why_unavailable(kind: Literal["gzip", "zstd"]) -> str | None:
    """The reason and the remedy when this Python cannot compress so; None when it can."""
    if kind == "gzip" or _zstd_module() is not None:
        return None
    return "zstd needs Python 3.14, or the package zstandard: pip install 'tdbwatch[zstd]'"


def _writer(raw: IO[bytes], kind: Literal["gzip", "zstd"]) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6)
    module = _zstd_module()
    if module is None:
        raise OSError(why_unavailable(kind))
    if module.__name__ == "zstandard":
        return module.ZstdCompressor(write_content_size=False).stream_writer(raw, closefd=False)
    return module.ZstdFile(raw, mode="wb")


def _zstd_module() -> Any:
    for name in ("compression.zstd", "zstandard"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
