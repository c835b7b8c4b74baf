"""As `thingsdb.util`."""

from tdbwatch.compat.util.access import Access
from tdbwatch.compat.util.cleancode import strip_code
from tdbwatch.compat.util.cnscope import cnscope
from tdbwatch.compat.util.fcscope import fcscope
from tdbwatch.compat.util.is_name import is_name

__all__ = ["Access", "cnscope", "fcscope", "is_name", "strip_code"]
