"""python-thingsdb's module names: replace `thingsdb` with `tdbwatch.compat` in a program's imports.

What has a place of its own in `tdbwatch` is the same object here; `util` and `misc.lock` are only here.
"""

from tdbwatch import __version__

__all__ = ["__version__"]
