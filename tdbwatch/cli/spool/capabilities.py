"""What this thread may do beyond its user's rights (Linux: capabilities(7), capget(2))."""

import ctypes
import os
from typing import Final

DAC_READ_SEARCH: Final = 1 << 2
"""Go through folders, and read, whatever their mode says."""
_VERSION: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def effective() -> int:
    """The first 32 that count now, as bits."""
    return int(_get()[0].effective)


def set_effective(bits: int) -> None:
    """Let these count, of the first 32.

    Raises:
        PermissionError: one of them is not permitted.
    """
    sets = _get()
    sets[0].effective = bits
    _call("capset", sets)


def _get() -> "ctypes.Array[_Set]":
    sets = (_Set * 2)()
    _call("capget", sets)
    return sets


def _call(name: str, sets: "ctypes.Array[_Set]") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(ctypes.byref(_Header(_VERSION, 0)), sets) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
