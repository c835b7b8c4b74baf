"""Speaks the journal's own protocol: a datagram is one entry, with fields, and may have line breaks.

systemd describes it as its "Native Journal Protocol".
"""

import array
import errno
import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

from structlog.typing import EventDict, Processor

from tdbwatch.daemon.logs.text import PRIORITIES, as_text, with_priority
from tdbwatch.daemon.logs.writer import LogWriter
from tdbwatch.redaction import redact

SOCKET: Final = "/run/systemd/journal/socket"
"""Where journald listens."""
_IDENTIFIER: Final = "tdbwatch"
_MOST_FIELDS: Final = 100
_MOST_NAME: Final = 50
"""Characters of a field's name, of the 64 that journald allows."""
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_TOO_LARGE: Final = (errno.EMSGSIZE, errno.ENOBUFS)


def entries(message: Processor) -> Processor:
    """Make the fields of an entry of each line, as JSON, for `JournalWriter`.

    Args:
        message: makes the text that people read.
    """

    def render(logger: Any, method: str, line: EventDict) -> str:
        fields = {
            "MESSAGE": redact(str(message(logger, method, line))),
            "PRIORITY": str(PRIORITIES.get(method, PRIORITIES["info"])),
            "SYSLOG_IDENTIFIER": _IDENTIFIER,
        }
        for key in list(line)[:_MOST_FIELDS]:
            if key != "level":  # which is the priority
                fields[field_name(key)] = redact(as_text(key, line[key]))
        return json.dumps(fields)

    return render


def field_name(key: str) -> str:
    """`event_id` is `TDBWATCH_EVENT_ID`: upper case, digits and `_`, and nobody else's name."""
    return f"TDBWATCH_{re.sub(r'[^A-Z0-9]+', '_', key.upper()[:_MOST_NAME])}"


def entry(fields: Mapping[str, str]) -> bytes:
    """The datagram of these fields. Each value has its length before it, so it may hold anything."""
    return b"".join(_encoded(fields))


def _encoded(fields: Mapping[str, str]) -> Iterator[bytes]:
    for name, text in fields.items():
        value = text.encode(errors="backslashreplace")
        yield b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


class JournalWriter(LogWriter):
    """Sends lines that `entries` made. What cannot be sent is written to standard error: the journal's, too.

    Args:
        fd: standard error.
        address: where to send them.
    """

    def __init__(self, fd: int, address: str) -> None:
        super().__init__(fd)
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def close(self) -> None:
        super().close()
        if self._thread is None:
            self._socket.close()

    def _run(self) -> None:
        with self._socket:
            super()._run()

    def _write(self, line: bytes) -> None:
        fields = json.loads(line)
        try:
            self._send(entry(fields))
        except OSError:
            text = with_priority(int(fields["PRIORITY"]), fields["MESSAGE"])
            super()._write(text.encode(errors="backslashreplace") + b"\n")

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.sendto(datagram, self._address)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_as_file(datagram)

    def _send_as_file(self, datagram: bytes) -> None:
        """As a sealed file in memory, whose descriptor is sent: it is too large for a datagram."""
        memory = os.memfd_create("tdbwatch-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(memory, "wb") as file:
            file.write(datagram)
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            sent = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))]
            self._socket.sendmsg([b""], sent, 0, self._address)
