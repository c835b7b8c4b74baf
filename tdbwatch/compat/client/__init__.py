"""As `thingsdb.client`."""

from tdbwatch.compat.client.client import Client
from tdbwatch.compat.client.package import set_package_fail_file

__all__ = ["Client", "set_package_fail_file"]
