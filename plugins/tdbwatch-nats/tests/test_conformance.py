"""The sink does what the daemon expects of every sink, with a real server that fails, stalls and is killed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from tdbwatch.plugin import Event
from tdbwatch.testing import Program, SinkConformance, make_event

from tdbwatch_nats import NatsSink


class TestNats(SinkConformance):
    sink = NatsSink

    @pytest.fixture(autouse=True)
    def _server(self, server: Program, stream: str, ask: Callable[..., Any]) -> None:
        self.server, self.ask = server, ask
        self.options = {"servers": [f"nats://127.0.0.1:{server.port}"], "stream": stream, "timeout": "5s"}

    def delivered(self) -> Sequence[str]:
        return list(self.ask(_ids))

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        """The stream has space for so many more."""
        count = len(self.delivered())
        self._limit(count + after)
        yield
        self._limit(-1)

    def _limit(self, messages: int) -> None:
        settings = {"name": "EVENTS", "subjects": ["tdbwatch.>"], "max_msgs": messages, "discard": "new"}
        self.ask(lambda js: js.update_stream(nats.js.api.StreamConfig(**settings)))

    def stalled(self) -> AbstractContextManager[None]:
        return self.server.stalled()

    def restart(self) -> None:
        self.server.restart(0.3)

    def poison(self) -> Event:
        """An event whose room is called what no subject can be."""
        return make_event("..", "poison")


async def _ids(js: JetStreamContext) -> Sequence[str]:
    """The ids that the stream has, in their order."""
    count = (await js.stream_info("EVENTS")).state.messages
    if not count:
        return []
    sub = await js.subscribe("tdbwatch.>", ordered_consumer=True)
    headers = [(await sub.next_msg(timeout=20)).headers or {} for _ in range(count)]
    await sub.unsubscribe()
    return [one["Nats-Msg-Id"] for one in headers]
