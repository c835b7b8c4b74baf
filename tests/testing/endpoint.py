"""An HTTP endpoint in threads of its own, whose answers the test chooses."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .destination import Destination


class Endpoint(Destination):
    """Takes records by POST: 204, or 503 while it is away, or 422 for poison."""

    def answer(self, body: bytes) -> int:
        self.answers.wait(20)
        records = json.loads(body)
        try:
            self.called()
            for record in records if isinstance(records, list) else [records]:
                self.put(record["id"], record["event"])
        except ConnectionError:
            return 503
        except ValueError:
            return 422
        return 204


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
