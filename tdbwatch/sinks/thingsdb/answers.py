"""What an error of ThingsDB means for the event. Pure."""

import re
from collections.abc import Collection
from typing import Final

from tdbwatch import exceptions as errors
from tdbwatch.plugin import Outcome, Rejected, Retry

_OF_SET_UP: Final = (
    errors.SyntaxError,
    errors.ForbiddenError,
    errors.AuthError,
)
"""Wrong for every event: somebody has to mend the configuration, or what is there."""
_MAY_PASS: Final = (
    errors.NodeError,
    errors.MaxQuotaError,
    errors.RequestTimeoutError,
    errors.RequestCancelError,
    errors.CancelledError,
    errors.WriteUVError,
    errors.MemoryError,
    errors.InternalError,
)
_NOT_THERE: Final = re.compile(r"(procedure|collection|scope) `[^`]*` not found")
"""How ThingsDB says so of what we name. What code looks for, and does not find, is the event's."""


def outcome_of(error: errors.ThingsDBError, retry_codes: Collection[int]) -> Outcome:
    """What becomes of the event that this was answered for."""
    reason = f"{error.error_msg} ({error.error_code})"
    if error.error_code in retry_codes or isinstance(error, _MAY_PASS):
        return Retry(reason)
    not_there = isinstance(error, errors.LookupError) and _NOT_THERE.match(error.error_msg)
    if not_there or isinstance(error, _OF_SET_UP):
        return Retry(f"{reason}; mend the sink's options, or what is in ThingsDB", pause=True)
    return Rejected(reason)
