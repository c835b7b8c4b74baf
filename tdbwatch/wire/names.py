"""ThingsDB's naming rules (measured on ThingsDB 1.9.3)."""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_]{0,254}")


def is_room_name(text: str) -> bool:
    """Whether a room could be called so: 1 to 255 ASCII letters, digits and underscores, no digit first."""
    return _NAME.fullmatch(text) is not None
