"""An HTTP endpoint in threads of its own, whose answers the test chooses."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Endpoint:
    """Takes records by POST. `takes` more requests are answered 204, then 503; None: all are."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.takes: int | None = None
        self.answers = threading.Event()
        self.answers.set()

    def answer(self, body: bytes) -> int:
        self.answers.wait(20)
        if self.takes == 0:
            return 503
        if self.takes is not None:
            self.takes -= 1
        records = json.loads(body)
        for record in records if isinstance(records, list) else [records]:
            if record["event"] == "poison":
                return 422
            self.ids.append(record["id"])
        return 204

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


@contextmanager
def serving() -> Iterator[tuple[str, Endpoint]]:
    """The URL, and what is behind it."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = endpoint.answer(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not to standard error."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was cancelled is gone before it is answered."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", endpoint
        server.shutdown()
        thread.join()
