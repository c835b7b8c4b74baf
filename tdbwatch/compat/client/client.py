"""As `thingsdb.client.client`."""

from tdbwatch.client import Client

__all__ = ["Client"]
