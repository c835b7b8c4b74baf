"""Which configuration is in use, and what came of the last reload: the one who is asked for both."""

from dataclasses import dataclass

from tdbwatch.daemon.config import Config
from tdbwatch.daemon.reload.verdict import Verdict


@dataclass(slots=True)
class InUse:
    """The configuration in use.

    Attributes:
        config: it, with what waits for a restart as it was at the start.
        since_us: when it was taken up, in microseconds since the Unix epoch.
        verdict: of the last reload; None: there was none.
        restart: the keys that the file has otherwise, and that wait for a restart.
    """

    config: Config
    since_us: int
    verdict: Verdict | None = None
    restart: tuple[str, ...] = ()
