"""As `thingsdb.client.package`, of which the fail file is of use to programs."""

from tdbwatch.client import set_package_fail_file

__all__ = ["set_package_fail_file"]
