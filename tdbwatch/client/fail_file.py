"""The last package that could not be decoded, kept in a file for whoever has to find out why."""

from pathlib import Path

from tdbwatch.loggers import get_logger

log = get_logger("tdbwatch.client")

_path: Path | None = None


def set_package_fail_file(fn: str = "") -> None:
    """Name the file that the body of a package is written to when it cannot be decoded, without its header.

    There is one such file for all clients, and it holds the last one. An empty name turns it off, as it is at
    first.
    """
    global _path  # noqa: PLW0603 - one setting for all clients, as in python-thingsdb
    _path = Path(fn) if fn else None


def dump_failed(body: bytes) -> None:
    """Write a body to the file, if one is set. Failing to do so is logged."""
    if _path is None:
        return
    try:
        _path.write_bytes(body)
    except OSError as error:
        log.error("cannot write a package that does not decode to %s: %s", _path, error)
