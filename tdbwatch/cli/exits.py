"""Exit codes, those of sysexits(3), and the exception that ends a command with one."""

from typing import Final

OK: Final = 0
USAGE: Final = 64
DAMAGED: Final = 65
"""The spool is damaged and was not repaired."""
NO_INPUT: Final = 66
"""There is no such spool, or no such event in it."""
UNAVAILABLE: Final = 69
"""Nothing to connect to, with `--exit-when-unreachable`; or an optional part is not installed."""
CANNOT_WRITE: Final = 73
"""The spool's place, or the output, cannot be written, or another process uses the spool."""
SOFTWARE: Final = 70
"""A mistake of ours."""
NO_PERMISSION: Final = 77
"""This user may not read the spool."""
BAD_CONFIG: Final = 78
"""The configuration, the login included, is not one to run with."""


class CommandError(Exception):
    """Ends the command with a message, if it has one.

    Attributes:
        code: the exit code.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
