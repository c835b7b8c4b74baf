"""What tests of connecting share."""

from tdbwatch.client import Observer
from tdbwatch.wire import Kind, encode_frame


class Diary(Observer):
    """Keeps what a client tells of its connections."""

    def __init__(self):
        self.entries = []
        self.waits = []

    def connected(self, address):
        self.entries.append(("connected", str(address)))

    def disconnected(self, address, reason):
        self.entries.append(("disconnected", str(address)))

    def unreachable(self, address, reason, wait):
        self.entries.append(("unreachable", reason))
        self.waits.append(wait)


def refuse_login(data):
    """What a node answers that knows no such login."""
    return encode_frame(data[4] | data[5] << 8, Kind.ERROR, b"\x82\xaaerror_code\xd0\xc8\xa9error_msg\xa2no")
