"""The sink does what the daemon expects of every sink, with a real server that fails, stalls and is killed."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest
from redis import Redis
from tdbwatch.plugin import Event
from tdbwatch.testing import Program, SinkConformance, make_event

from tdbwatch_redis import RedisSink


class TestRedis(SinkConformance):
    sink = RedisSink

    @pytest.fixture(autouse=True)
    def _server(self, server: Program, redis: Redis) -> None:
        self.server, self.redis = server, redis
        self.options = {"url": f"redis://127.0.0.1:{server.port}", "stream": "{{ room }}", "timeout": "5s"}

    def delivered(self) -> Sequence[str]:
        return [fields[b"id"].decode() for _, fields in self.redis.xrange("alerts")]

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        """Without memory for more; what a batch is cannot fail in its middle."""
        self.redis.config_set("maxmemory", 1)
        yield
        self.redis.config_set("maxmemory", 0)

    def stalled(self) -> AbstractContextManager[None]:
        return self.server.stalled()

    def restart(self) -> None:
        self.server.restart(0.3)

    def poison(self) -> Event:
        """An event whose stream's name is that of something else."""
        self.redis.set("no stream", "but text")
        return make_event("no stream", "poison")
