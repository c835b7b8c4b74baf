"""Exit codes, those of sysexits(3)."""

from typing import Final

OK: Final = 0
USAGE: Final = 64
DAMAGED: Final = 65
"""The spool is damaged and was not repaired."""
NO_INPUT: Final = 66
"""There is no such spool, or no such event in it."""
UNAVAILABLE: Final = 69
"""Nothing to connect to; only with `--exit-when-unreachable`."""
CANNOT_WRITE: Final = 73
"""The spool's place cannot be written, or another process uses it."""
SOFTWARE: Final = 70
"""A mistake of ours."""
NO_PERMISSION: Final = 77
"""This user may not read the spool."""
BAD_CONFIG: Final = 78
"""The configuration, the login included, is not one to run with."""
