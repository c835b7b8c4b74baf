"""A receiver of Apprise's `json://`, in threads of its own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Receiver:
    """Takes messages. `takes` more are answered 204, then 503; None: all are. A title `poison` is a 400."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[dict[str, Any]] = []
        self.takes: int | None = None
        self.status = 204
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/?cto=20&rto=20"

    def answer(self, message: dict[str, Any]) -> int:
        self.answers.wait(20)
        if self.takes == 0:
            return 503
        if self.takes is not None:
            self.takes -= 1
        if message["title"] == "poison":
            return 400
        if self.status == 204:
            self.messages.append(message)
        return self.status

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        self.takes = after
        yield
        self.takes = None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        self.answers.clear()
        yield
        self.answers.set()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(receiver.answer(message))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not to standard error."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client may be gone before it is answered."""

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()
