"""Telling a spool that was overwritten from a file that never was one: that is nobody's to move."""

import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.damage import set_aside, side

APPLICATION_ID: Final = 0x7464_6277  # "tdbw": tells a spool from any other SQLite file
NOT_OURS: Final = "is an SQLite file but not a spool of tdbwatch; name another path"
MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = struct.Struct(">16sH50xL")  # magic, page size, application id
_ASIDE: Final = re.compile(r"\.damaged-\d{8}T\d{6}Z(-\d+)?$")
_OWNER: Final = re.compile(rb"\d{1,20}\n")


def refuse_foreign(path: Path) -> None:
    """See that nothing but a spool, or what is left of one, or nothing, is at `path`.

    To be asked before anything of ours is made beside it. Such signs are looked for first: where they are,
    this process may have the file open, and closing another descriptor of it would drop SQLite's locks.

    Raises:
        SpoolError: it is another program's file.
    """
    if _was_ours(path) or not path.is_file():
        return
    with suppress(OSError), path.open("rb") as file:  # what cannot be read is not moved either
        head, size = file.read(_HEADER.size), path.stat().st_size
        _refuse(path, head, size)


def _refuse(path: Path, head: bytes, size: int) -> None:
    if not head:
        return  # an empty one loses nothing
    if not head.startswith(MAGIC):
        raise SpoolError(
            f"{path} is no spool, so it is left as it is; name another path; "
            "or, if it was a spool that got overwritten, move it away yourself"
        )
    if len(head) == _HEADER.size:
        _, page_size, application = _HEADER.unpack(head)
        if application != APPLICATION_ID and size > page_size:  # else there are no tables yet
            raise SpoolError(f"{path} {NOT_OURS}")


def _was_ours(path: Path) -> bool:
    """Whether a daemon or a command has used a spool of this name, by what they leave beside it.

    A `-wal` says nothing: other programs have such, too, for files without SQLite's header.
    """
    if _ASIDE.search(path.name) or side(path, ".alive").exists():
        return True
    with suppress(OSError):
        if _OWNER.fullmatch(side(path, ".lock").read_bytes()[:32]):
            return True
    with suppress(OSError):
        return any(_ASIDE.search(name.name) for name in set_aside(path))
    return False
