"""As `thingsdb.exceptions`."""

from tdbwatch.exceptions import *  # noqa: F403
