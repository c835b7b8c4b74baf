"""How commands ask a running daemon: over HTTP, where `http.listen` says."""

import argparse
import http.client
import json
import sys
from collections.abc import Container
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.redaction import presentable, redact

if TYPE_CHECKING:
    from tdbwatch.daemon.config import HttpConfig

SECONDS: Final = 5.0
"""How long an answer may take."""
RELOAD_SECONDS: Final = 120.0
"""The same for a reload, which others may be before."""
_MOST_BYTES: Final = 64 << 20
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - we ask there, not listen
_VERDICT: Final = frozenset({"verdict", "problems", "changes", "restart", "warnings"})
_EXAMPLE: Final = "http: {listen: '127.0.0.1:9280'}"


class SilentError(Exception):
    """The daemon does not answer, or not as it should; the text says why."""


@dataclass(frozen=True, slots=True)
class StatusPort:
    """Where a daemon answers, and the token that it may want."""

    host: str
    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def status(self) -> dict[str, Any]:
        """What /status.json says. Blocks for some seconds at most.

        Raises:
            SilentError: nobody answers, or the answer is not the status.
        """
        return self._ask("GET", "/status.json", {}, SECONDS, {http.client.OK}, "status", {"state"})

    def reload(self) -> dict[str, Any]:
        """Have the daemon take up its configuration; the verdict. Blocks for some minutes at most.

        Raises:
            SilentError: nobody answers, or the answer is not a verdict.
        """
        from tdbwatch.daemon.status.asked import RELOAD, RELOAD_HEADER

        headers, codes = {RELOAD_HEADER: "reload"}, {http.client.OK, http.client.UNPROCESSABLE_ENTITY}
        return self._ask("POST", RELOAD, headers, RELOAD_SECONDS, codes, "verdict", _VERDICT)

    def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        seconds: float,
        codes: Container[int],
        what: str,
        keys: AbstractSet[str],
    ) -> dict[str, Any]:
        """What is answered with one of these codes, and has these keys at least."""
        if self.token is not None:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        try:
            with closing(http.client.HTTPConnection(self.host, self.port, timeout=seconds)) as connection:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                body = answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: of an odd host's name
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SilentError(f"no daemon answers at {self.url}: {reason}; does it run?") from error
        if answer.status == http.client.UNAUTHORIZED:
            raise SilentError(f"the daemon at {self.url} wants another token: give --token-file")
        try:
            found = json.loads(body) if answer.status in codes else None
        except (ValueError, RecursionError):
            found = None
        if not (isinstance(found, dict) and found.keys() >= keys):
            said = presentable(body[:200].decode("utf-8", "replace").strip())
            raise SilentError(f"{self.url} answers {answer.status}, and no {what}: {said}")
        return found


def add_status_port(parser: argparse.ArgumentParser) -> None:
    """Options that say which daemon."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", "-c", type=Path, metavar="FILE", help="the daemon's configuration")
    where.add_argument("--url", metavar="URL", help="where it answers, such as http://127.0.0.1:9280")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the token that it wants, if not as configured"
    )


def status_port(options: argparse.Namespace) -> StatusPort:
    """The daemon that the options name.

    Raises:
        CommandError: they name none.
    """
    token = None if options.token_file is None else _token(options.token_file)
    if options.config is None:
        host, port = _written(options.url)
    else:
        config = _configured(options.config)
        host, port = _ANYWHERE.get(config.host, config.host), config.port
        if token is None and config.token is not None:
            token = config.token.get_secret_value()
    redact.remember([token or ""])  # another program that has the port may repeat it
    return StatusPort(host, port, token)


def _configured(path: Path) -> "HttpConfig":
    from tdbwatch.daemon.config import ConfigError, read

    try:
        config = read(path).http()
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise CommandError(exits.BAD_CONFIG, "") from error
    if config is None or not config.port:
        what = "no section http" if config is None else "a port that the daemon chooses, so give its --url"
        raise CommandError(exits.BAD_CONFIG, f"{path} has {what}; for instance {_EXAMPLE}")
    return config


def _token(path: Path) -> str:
    from tdbwatch.daemon.config.problems import RefusedError
    from tdbwatch.daemon.config.secrets.secret_keys import read_secret

    try:
        return read_secret(path).strip()
    except RefusedError as error:
        raise CommandError(exits.USAGE, f"--token-file {path}: {error}") from error


def _written(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname and not parts.path.strip("/"):
            return parts.hostname, parts.port or 80
    except ValueError:
        pass
    raise CommandError(exits.USAGE, f"{url!r} is not where a daemon answers: write http://HOST:PORT")
