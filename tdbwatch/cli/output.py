"""What commands say on standard output, which may be full, or which nobody reads any more."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from tdbwatch.cli import exits


def say(*lines: str) -> None:
    """Print these lines.

    Raises:
        CommandError: standard output cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    with writing("standard output"):
        print(*lines, sep="\n")


def finish() -> None:
    """See that all that was said is written, while there is somebody to tell if it is not.

    Raises:
        CommandError, BrokenPipeError: as `say`.
    """
    with writing("standard output"):
        print(end="", flush=True)


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Tell that `name` cannot be written.

    Raises:
        CommandError: it cannot.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise exits.CommandError(exits.CANNOT_WRITE, f"{name}: {error.strerror or error}") from error


def give_up() -> None:
    """Let go of what cannot be written: Python would try once more at the end, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            print(end="", file=stream, flush=True)
        except OSError:
            _to_nowhere(stream)


def drop() -> None:
    """Let go of what is not written yet: at the end Python would wait for a reader who does not read."""
    if sys.stdout is not None:
        _to_nowhere(sys.stdout)


def _to_nowhere(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
