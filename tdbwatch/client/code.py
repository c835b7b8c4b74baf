"""ThingsDB code, as it is sent."""

import re
from typing import Final

_BEFORE_CODE: Final = re.compile(r"\s*(?://.*)?\s*")


def strip_code(code: str) -> str:
    """Cut off the white space around code, and one `//` comment before it.

    Not more: the server counts the lines in its errors from the first that is sent, and python-thingsdb sends
    just these.
    """
    begin = _BEFORE_CODE.match(code)
    assert begin is not None  # it matches the empty string too
    return code[begin.end() :].rstrip()
