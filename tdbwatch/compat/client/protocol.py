"""As `thingsdb.client.protocol`, of which the numbers are of use to programs."""

from tdbwatch.compat.client.baseprotocol import Proto

__all__ = ["Proto"]
