"""How nodes are met: secrets and certificates are read again at each connection, since they are rotated."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog

from tdbwatch.blocking import in_own_thread
from tdbwatch.client.login import Auth
from tdbwatch.client.words import words
from tdbwatch.daemon.config import AuthConfig, TlsConfig
from tdbwatch.daemon.config.secrets.secret_keys import read_secret
from tdbwatch.plugin import OptionError
from tdbwatch.redaction import redact
from tdbwatch.tls_files import TlsFiles

READ_SECONDS: Final = 5.0
"""Seconds for a file; a disk that hangs must keep nobody from connecting with what was there before."""

_T = TypeVar("_T")


class _Reading(Generic[_T]):
    """Reads in a thread of its own, of which there is one, however often is asked while it hangs."""

    def __init__(self, read: Callable[[], _T], name: str) -> None:
        self._read = read
        self._name = name
        self._task: asyncio.Task[_T] | None = None

    async def __call__(self) -> _T:
        """What it returns or raises.

        Raises:
            OSError: there is no answer from the disk.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(in_own_thread(self._read, self._name), name=self._name)
        done, _ = await asyncio.wait({self._task}, timeout=READ_SECONDS)
        if not done:
            raise OSError(f"the disk does not answer within {READ_SECONDS:g} s")
        return self._task.result()


class Login:
    """Gives the client the login of now. Where the file cannot be read it is the one of before.

    Args:
        file: where the token, or the password, comes from; None: it stands in the configuration.
    """

    def __init__(self, auth: AuthConfig, file: Path | None = None) -> None:
        self._log: Any = structlog.get_logger("tdbwatch.links")
        self.change(auth, file)

    def change(self, auth: AuthConfig, file: Path | None) -> None:
        """From the next login on it is this one."""
        secret = auth.password if auth.token is None else auth.token
        assert secret is not None, "the configuration has neither token nor password"
        self._user = auth.username
        self._secret = secret.get_secret_value()
        self._file = file
        self._reading = None if file is None else _Reading(lambda: read_secret(file), "tdbwatch-secret")
        self._trouble = ""

    async def __call__(self) -> Auth:
        if self._reading is not None:
            await self._read(self._reading)
        return self._secret if self._user is None else (self._user, self._secret)

    async def _read(self, reading: _Reading[str]) -> None:
        file, trouble = str(self._file), ""
        try:
            secret = await reading()
        except OptionError as error:
            trouble = error.message
        except OSError as error:
            trouble = words(error)
        else:
            if reading is not self._reading:  # another login was configured meanwhile
                return
            if secret != self._secret:
                redact.remember([secret])
                self._secret = secret
                self._log.info("links.new_secret", file=file)
        if trouble and trouble != self._trouble:
            self._log.warning("links.secret_unreadable", file=file, reason=trouble)
        self._trouble = trouble


LoadedTls = tuple[TlsFiles, ssl.SSLContext] | None
"""Files and the context that was made of them; None: no TLS of our own."""


def load_tls(config: TlsConfig | None) -> LoadedTls:
    """What the configuration wants; blocks on the disk.

    Raises:
        OSError: the files make no context.
    """
    files = None if config is None else TlsFiles(config)
    return None if files is None else (files, files.load())


class NodeTls:
    """Gives the client the TLS context of now. If the new files make none it is the one of before.

    Args:
        config: None: there is none; who needs TLS all the same takes the usual one.

    Raises:
        OSError: the files make no context.
    """

    def __init__(self, config: TlsConfig | None) -> None:
        self._log: Any = structlog.get_logger("tdbwatch.links")
        self.change(load_tls(config))

    def change(self, loaded: LoadedTls) -> None:
        """From the next connection on it is this one."""
        self._files: TlsFiles | None
        self._context: ssl.SSLContext | None
        self._files, self._context = loaded if loaded is not None else (None, None)
        self._reading = _Reading(self._current, "tdbwatch-tls")

    async def __call__(self) -> ssl.SSLContext | None:
        if self._files is None:
            return None
        reading = self._reading
        try:
            context = await reading()
            if reading is self._reading:  # else other files were configured meanwhile
                self._context = context
        except OSError as error:
            self._log.warning(
                "links.tls_files_unusable", error=words(error), remedy="the ones of before count"
            )
        return self._context

    def _current(self) -> ssl.SSLContext | None:
        return self._files.load() if self._files is not None and self._files.changed() else self._context
