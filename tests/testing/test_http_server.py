"""The HTTP server for authors' tests."""

import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from tdbwatch.testing import HttpAnswer, HttpRequest, HttpServer


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


def ask(server: HttpServer, method: str = "POST", body: bytes = b"") -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request(method, "/a?b=c", body, {"X-Own": "1"})
    answer = connection.getresponse()
    found = (answer.status, answer.read(), answer.getheader("x-mine"))
    connection.close()
    return found


def test_it_keeps_requests_and_answers_as_it_is_told(server: HttpServer) -> None:
    assert ask(server, body=b'{"a": 1}') == (204, b"", None)
    server.answer = lambda request: HttpAnswer(201, {"saw": request.json()}, {"X-Mine": "yes"})
    assert ask(server, "PUT", b"[2]") == (201, json.dumps({"saw": [2]}).encode(), "yes")
    server.answer = lambda _: HttpAnswer(200, b"text")
    assert ask(server, "GET") == (200, b"text", None)
    first, *others = server.requests
    assert first == HttpRequest("POST", "/a?b=c", first.headers, b'{"a": 1}')
    assert first.headers["X-OWN"] == first.headers.get("x-own") == "1"
    assert (first.headers["x-own"], [one.method for one in others]) == ("1", ["PUT", "GET"])


def test_it_fails_after_so_many_requests(server: HttpServer) -> None:
    with server.failing(after=1):
        assert [ask(server)[0] for _ in range(3)] == [204, 503, 503]
    assert ask(server)[0] == 204
    assert len(server.requests) == 2


def test_while_it_is_stalled_nothing_is_answered(server: HttpServer) -> None:
    answered: list[int] = []
    asking = threading.Thread(target=lambda: answered.append(ask(server)[0]))
    with server.stalled():
        asking.start()
        asking.join(0.05)
        assert (answered, server.requests) == ([], [])
    asking.join(20)
    assert answered == [204]
