"""How the daemon is asked to reload, for the one who answers and the one who asks."""

from typing import Final

RELOAD: Final = "/-/reload"
RELOAD_HEADER: Final = "X-Tdbwatch"
"""Must be there, whatever it says: a web page cannot send it."""
