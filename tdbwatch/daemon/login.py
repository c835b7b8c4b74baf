"""How nodes are met: secrets and certificates are read again at each connection, since they are rotated."""

import ssl
from pathlib import Path
from typing import Any

import structlog

from tdbwatch.blocking import in_own_thread
from tdbwatch.client.login import Auth
from tdbwatch.client.words import words
from tdbwatch.daemon.config import AuthConfig, TlsConfig
from tdbwatch.daemon.config.secret_keys import read_secret
from tdbwatch.plugin import OptionError
from tdbwatch.redaction import redact
from tdbwatch.tls_files import TlsFiles


class Login:
    """Gives the client the login of now. Where the file cannot be read it is the one of before.

    Args:
        file: where the token, or the password, comes from; None: it stands in the configuration.
    """

    def __init__(self, auth: AuthConfig, file: Path | None = None) -> None:
        secret = auth.password if auth.token is None else auth.token
        assert secret is not None, "the configuration has neither token nor password"
        self._user = auth.username
        self._secret = secret.get_secret_value()
        self._file = file
        self._trouble = ""
        self._log: Any = structlog.get_logger("tdbwatch.links")

    async def __call__(self) -> Auth:
        if self._file is not None:
            await self._read(self._file)
        return self._secret if self._user is None else (self._user, self._secret)

    async def _read(self, file: Path) -> None:
        trouble = ""
        try:
            secret = await in_own_thread(lambda: read_secret(file), "tdbwatch-secret")
        except OptionError as error:
            trouble = error.message
        else:
            if secret != self._secret:
                redact.remember([secret])
                self._secret = secret
                self._log.info("links.new_secret", file=str(file))
        if trouble and trouble != self._trouble:
            self._log.warning("links.secret_unreadable", file=str(file), reason=trouble)
        self._trouble = trouble


class NodeTls:
    """Gives the client the TLS context of now. If the new files make none it is the one of before."""

    def __init__(self, config: TlsConfig) -> None:
        self._files = TlsFiles(config)
        self._context = self._files.load()
        self._log: Any = structlog.get_logger("tdbwatch.links")

    async def __call__(self) -> ssl.SSLContext:
        try:
            self._context = await in_own_thread(self._current, "tdbwatch-tls")
        except OSError as error:
            self._log.warning(
                "links.tls_files_unusable", error=words(error), remedy="the ones of before count"
            )
        return self._context

    def _current(self) -> ssl.SSLContext:
        return self._files.load() if self._files.changed() else self._context
