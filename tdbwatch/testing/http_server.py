"""An HTTP server in threads of its own: what a sink talks to in its tests, with answers that these choose."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

_STALLED_SECONDS: Final = 20.0
"""How long a request may be held up; only ever reached when something is broken."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What was asked.

    Attributes:
        path: with its query.
        headers: by name, which may be written in any case.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class _Headers(Mapping[str, str]):
    """As HTTP has it, `Content-Type` and `content-type` are one name."""

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        self._by_name = {name.lower(): value for name, value in headers}

    def __getitem__(self, name: str) -> str:
        return self._by_name[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return repr(self._by_name)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What is answered: `body` as JSON, unless it is bytes."""

    status: int = 204
    body: Any = b""
    headers: Mapping[str, str] | None = None


class HttpServer:
    """Listens on a free port of the loopback while the `with` block lasts.

        with HttpServer(lambda request: HttpAnswer(201, {"id": 7})) as server:
            assert deliver(TicketSink, event, {"url": server.url}) == [DELIVERED]
            assert server.requests[0].json() == {"title": "disk-full"}

    Args:
        answer: gives the answer to a request, in a thread of the server, one request at a time.

    Attributes:
        answer: may be replaced.
        requests: all that were answered, in order; those that `failing` refuses are not among them.
    """

    def __init__(self, answer: Callable[[HttpRequest], HttpAnswer] = lambda _: HttpAnswer()) -> None:
        self.answer = answer
        self.requests: list[HttpRequest] = []
        self._left: int | None = None
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._turn = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self._answered))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._goes_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        """While it lasts, `after` more requests are answered, and 503 is the answer to all others."""
        self._left = after
        try:
            yield
        finally:
            self._left = None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """While it lasts, nothing is answered."""
        self._goes_on.clear()
        try:
            yield
        finally:
            self._goes_on.set()

    def _answered(self, request: HttpRequest) -> HttpAnswer:
        self._goes_on.wait(_STALLED_SECONDS)
        with self._turn:
            if self._left is not None:
                if self._left <= 0:
                    return HttpAnswer(503)
                self._left -= 1
            self.requests.append(request)
            return self.answer(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was cancelled is gone before it is answered."""


def _handler(answered: Callable[[HttpRequest], HttpAnswer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = answered(HttpRequest(self.command, self.path, _Headers(self.headers.items()), body))
            plain = isinstance(answer.body, bytes)
            data: bytes = answer.body if plain else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            own = {} if plain else {"content-type": "application/json"}
            for name, value in {**own, **(answer.headers or {})}.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _take  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:
            """Not to standard error."""

    return Handler
