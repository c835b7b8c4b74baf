"""What routes remember of the events that came: how often, which, and when the last one did.

Each form of remembering is a state and the times at which it has something to tell: `throttled` (throttle and
dedupe), `grouped`, `awaited` (absences). `holding` asks them, and `trial` tries them out without a daemon.
"""

from tdbwatch.daemon.holding.holding import INTERVAL, Due, Holding
from tdbwatch.daemon.holding.state import Told
from tdbwatch.daemon.holding.states import MOST_BYTES
from tdbwatch.daemon.holding.trial import Trial

__all__ = ["INTERVAL", "MOST_BYTES", "Due", "Holding", "Told", "Trial"]
