"""A server that says just enough of the protocol, and then sends events as fast as a socket takes them.

Run as `python -m bench.server`. It prints its port, and takes orders on standard input:

    blast N                  N events between a `first` and a `last`, as fast as possible
    rooms N                  the next blasts are for N rooms in turn
    pace RATE SECONDS START  events by the clock, from START (monotonic nanoseconds) on

It ends when its standard input does.
"""

import contextlib
import socket
import sys
import threading
import time
from typing import Final

from bench.stream import FIRST, LAST, ROOM_ID, SCOPE, bodies, frame, room_id, timed_frame
from tdbwatch.wire import PUSH_ID, Kind, Request, ServerSession, encode_frame, encode_push

BLOCK: Final = 10_000
"""Events that are encoded ahead and repeated in a blast."""


class Server:
    """Listens on loopback; every connection gets every event once it has joined."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._joined: list[socket.socket] = []
        self.rooms(0)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def listen(self) -> None:
        """Accept connections, until the process ends."""
        while True:
            peer, _ = self._listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def rooms(self, count: int) -> None:
        """The next blasts are for so many rooms in turn; 0: for the one that there always is."""
        self._block = b"".join(encode_frame(PUSH_ID, Kind.ROOM_EMIT, body) for body in bodies(BLOCK, count))
        self._frame_ends = _ends(self._block)

    def blast(self, count: int) -> None:
        """`count` events, between a `first` and a `last`, as fast as the sockets take them."""
        whole, rest = divmod(count, BLOCK)
        tail = self._block[: self._frame_ends[rest]]
        for piece in (frame(FIRST, []), *[self._block] * whole, tail, frame(LAST, [])):
            self._send(piece)

    def pace(self, rate: int, seconds: float, start_ns: int) -> None:
        """Events by the clock: what is due is sent, in one piece per joined connection."""
        step = 1_000_000_000 // rate
        number, count = 0, int(rate * seconds)
        while number < count:
            due = min(count, (time.monotonic_ns() - start_ns) // step + 1)
            if due > number:
                self._send(b"".join(timed_frame(start_ns + n * step, n) for n in range(number, due)))
                number = due
            time.sleep(max(0.0, (start_ns + number * step - time.monotonic_ns()) / 1e9))
        self._send(frame(LAST, []))

    def _send(self, data: bytes) -> None:
        for peer in list(self._joined):
            try:
                peer.sendall(data)
            except OSError:
                self._joined.remove(peer)

    def _serve(self, peer: socket.socket) -> None:
        session = ServerSession()
        with contextlib.suppress(OSError):
            while data := peer.recv(65_536):
                for request in session.receive(data):
                    if isinstance(request, Request):
                        peer.sendall(self._answer(session, request))
                        if request.kind == Kind.JOIN:
                            self._joined.append(peer)
        if peer in self._joined:
            self._joined.remove(peer)
        peer.close()

    @staticmethod
    def _answer(session: ServerSession, request: Request) -> bytes:
        if request.kind == Kind.PING:
            return session.answer(request, Kind.PONG)
        if request.kind == Kind.QUERY:
            return session.answer(request, Kind.DATA, ROOM_ID)
        if request.kind == Kind.LEAVE:
            return session.answer(request, Kind.DATA, [ROOM_ID])
        if request.kind == Kind.JOIN:
            ids = [room if isinstance(room, int) else room_id(room) for room in request.body[1:]]
            pushes = [encode_push(Kind.ROOM_JOIN, {"scope": SCOPE, "id": each}) for each in ids]
            return b"".join((session.answer(request, Kind.DATA, ids), *pushes))
        return session.answer(request, Kind.OK)


def _ends(block: bytes) -> list[int]:
    """Where each frame of a block ends; the first entry is 0."""
    ends = [0]
    while ends[-1] < len(block):
        ends.append(ends[-1] + 8 + int.from_bytes(block[ends[-1] : ends[-1] + 4], "little"))
    return ends


def main() -> None:
    server = Server()
    threading.Thread(target=server.listen, daemon=True).start()
    print(server.port, flush=True)
    for line in sys.stdin:
        order, *numbers = line.split()
        if order == "blast":
            server.blast(int(numbers[0]))
        elif order == "rooms":
            server.rooms(int(numbers[0]))
        else:
            server.pace(int(numbers[0]), float(numbers[1]), int(numbers[2]))


if __name__ == "__main__":
    main()
