"""Which configuration is in use, and what came of the last reload: the one who is asked for both."""

from dataclasses import dataclass

from tdbwatch.daemon.config import Config
from tdbwatch.daemon.reload.plan import Plan
from tdbwatch.daemon.reload.verdict import Verdict


@dataclass(slots=True)
class InUse:
    """The configuration in use.

    Attributes:
        config: it, with what waits for a restart as it was at the start.
        since_us: the time since which it is in use, in microseconds since the Unix epoch.
        read_us: when the files were last read and said this; it is later where a reload changed nothing.
        verdict: of the last reload; None: there was none.
        restart: the keys that the file has otherwise, and that wait for a restart.
    """

    config: Config
    since_us: int
    read_us: int
    verdict: Verdict | None = None
    restart: tuple[str, ...] = ()

    def take_up(self, plan: Plan, now_us: int) -> None:
        """What a reload found is in use from now on."""
        self.config, self.restart, self.read_us = plan.config, plan.restart, now_us
        if plan.changes:
            self.since_us = now_us
