"""A TLS context of files, made anew when they change: certificates are rotated while we run."""

import ssl
from pathlib import Path
from typing import Protocol

from tdbwatch.descriptors import SHORT, require, reserve

Stamp = tuple[int, int, int] | None
"""What tells that a file has changed; None: it cannot be looked at."""


class Tls(Protocol):
    """Whom to trust, and a certificate to show."""

    @property
    def ca_file(self) -> Path | None: ...
    @property
    def cert_file(self) -> Path | None: ...
    @property
    def key_file(self) -> Path | None: ...
    @property
    def verify(self) -> bool: ...


class TlsFiles:
    """The files that the options name. All methods block on the disk."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._files = tuple(file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        self._stamps: tuple[Stamp, ...] = ()

    def load(self) -> ssl.SSLContext:
        """A context made of the files as they are now.

        Raises:
            OSError: one cannot be read, or holds no certificate (`ssl.SSLError`).
        """
        tls, self._stamps = self._tls, self._look()
        reserve.lend()
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
            require()  # else the system's certificates could not be read, and count as none
        except OSError as error:  # ssl names no file
            if error.errno in SHORT:
                self._stamps = ()  # nobody has seen them yet
            files = ", ".join(map(str, self._files))
            raise OSError(error.errno, f"{error.strerror or error} ({files})") from None
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def changed(self) -> bool:
        """Whether the files are others than when they were loaded last."""
        return bool(self._files) and self._look() != self._stamps

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(map(stamp_of, self._files))


def stamp_of(file: Path) -> Stamp:
    """What the file is now. Blocks on the disk."""
    try:
        info = file.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_ino, info.st_size


def _no_password() -> str:
    """Instead of asking on the terminal, which would wait for ever."""
    return ""
