"""An HTTP endpoint whose answers the test chooses."""

from collections.abc import Iterator
from contextlib import contextmanager

from tdbwatch.testing import HttpAnswer, HttpRequest, HttpServer

from .destination import Destination


class Endpoint(Destination):
    """Takes records by POST: 204, or 503 while it is away, or 422 for poison."""

    def answer(self, request: HttpRequest) -> HttpAnswer:
        self.answers.wait(20)
        records = request.json()
        try:
            self.called()
            for record in records if isinstance(records, list) else [records]:
                self.put(record["id"], record["event"])
        except ConnectionError:
            return HttpAnswer(503)
        except ValueError:
            return HttpAnswer(422)
        return HttpAnswer()


@contextmanager
def serving() -> Iterator[tuple[str, Endpoint]]:
    """The URL, and what is behind it."""
    endpoint = Endpoint()
    with HttpServer(endpoint.answer) as server:
        yield f"{server.url}/", endpoint
