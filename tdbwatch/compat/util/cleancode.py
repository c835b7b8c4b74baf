"""As `thingsdb.util.cleancode`."""

from tdbwatch.client.code import strip_code

__all__ = ["strip_code"]
