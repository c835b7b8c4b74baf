"""What systemd wants to hear: sd_notify(3), spoken directly since it is one datagram."""

import os
import socket
import time
from collections.abc import Mapping

from tdbwatch.printable import printable


class Notifier:
    """Tells systemd how the service is; does nothing when systemd did not ask (no NOTIFY_SOCKET)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_us = _watchdog_us(environ)
        self._socket: socket.socket | None = None

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between signs of life, half of what systemd allows; None if it watches nothing."""
        return self._watchdog_us / 2e6 if self._watchdog_us and self._address else None

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={printable(status)}")  # a line of it would be another message

    def status(self, status: str) -> None:
        self._send(f"STATUS={printable(status)}")

    def reloading(self) -> None:
        """Until `ready` is called again; the time is what `Type=notify-reload` waits for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        """The last that it hears."""
        self._send("STOPPING=1\nSTATUS=stopping")
        self._address = ""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def alive(self) -> None:
        """Give a sign of life, if we are watched."""
        if self._watchdog_us:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract namespace
            address = "\0" + address[1:]
        try:
            if self._socket is None:  # kept: the watchdog does not wait until there is a descriptor again
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(message.encode(), address)
        except OSError:  # systemd is gone or busy; the service must not suffer for it
            return


def _watchdog_us(environ: Mapping[str, str]) -> int:
    """Microseconds that may pass between signs of life (sd_watchdog_enabled(3)); 0: nobody watches us.

    Children inherit the variables: `WATCHDOG_PID` says whom they are for.
    """
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return 0
    return int(microseconds) if microseconds.isascii() and microseconds.isdigit() else 0
