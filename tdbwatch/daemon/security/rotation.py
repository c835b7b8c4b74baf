"""Looks at the files of secrets (`config.secrets.rotating`) now and then: they are rotated while we run.

In a thread of its own, so that no delivery waits for a disk. The whole configuration is checked with what is
new; as long as it cannot be used, which is said once, the secrets from before serve on.
"""

from typing import Any, Final

import structlog

from tdbwatch.blocking import in_own_thread
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import Config, ConfigError
from tdbwatch.daemon.config.secrets.rotating import Rotating
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.descriptors import reserve
from tdbwatch.redaction import redact
from tdbwatch.tls_files import Stamp, stamp_of

INTERVAL: Final = 5.0
"""Seconds between two looks."""


async def keep_up(rotating: Rotating | None, clock: Clock) -> None:
    """Renew the secrets of a configuration that has any in files; until cancelled."""
    if rotating is not None:
        await Rotation(rotating, clock).run()


class Rotation:
    """Renews the secrets of one configuration."""

    def __init__(self, rotating: Rotating, clock: Clock, log: Any = None) -> None:
        self._rotating = rotating
        self._clock = clock
        self._log = log if log is not None else structlog.get_logger("tdbwatch.config")
        self._stamps = self._now()

    async def run(self) -> None:
        """Until cancelled, if there is anything to look at."""
        while self._stamps:
            await self._clock.sleep(INTERVAL)
            await in_own_thread(self.look, "tdbwatch-secrets")

    def look(self) -> None:
        """Take what has changed. Blocks on the disk."""
        if (stamps := self._now()) == self._stamps:
            return
        self._stamps = stamps
        reserve.lend()
        try:
            found = self._rotating.read_again()
        except ConfigError as error:
            for problem in error.problems:
                said = {"key": problem.path, "place": problem.place, "remedy": problem.hint}
                self._log.warning("config.secret_unusable", reason=problem.message, **said)
        else:
            self._renew(found)

    def _now(self) -> tuple[Stamp, ...]:
        return tuple(map(stamp_of, self._rotating.files))

    def _renew(self, config: Config) -> None:
        assert config.rotating is not None
        parts = [config.http, *(sink.options for sink in config.sinks)]
        redact.remember(secrets_in(parts))  # before anybody can say them
        for path, secret in self._rotating.secrets.items():
            now = config.rotating.secrets.get(path)
            if now is not None and now != secret:
                secret.renew(now.get_secret_value())
                self._log.info("config.secret_renewed", file=str(config.secret_files[path]))
