"""As `thingsdb.client`."""

from tdbwatch.client import Client, set_package_fail_file

__all__ = ["Client", "set_package_fail_file"]
