"""Sinks for configurations that nobody runs."""

from collections.abc import Sequence

from tdbwatch_nats import NatsSink
from tdbwatch_notify import NotifySink
from tdbwatch_postgres import PostgresSink
from tdbwatch_redis import RedisSink

from tdbwatch.daemon.config import Problem
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import Event, Sink, SinkType
from tdbwatch.plugin.sink import marked


class Idle(Sink):
    async def deliver(self, batch: Sequence[Event]) -> None:
        """Takes everything."""


def has_remedy(problem: Problem) -> bool:
    """Whether it says what to do: in words of its own, or by what the value must be."""
    return bool(problem.hint) or "must" in problem.message or "; " in problem.message


def sink_types() -> dict[str, SinkType]:
    """The built-in ones, and those of the packages under `plugins/`."""
    packaged = [marked(sink) for sink in (NatsSink, NotifySink, PostgresSink, RedisSink)]
    return load_plugins().sink_types | {made.name: made for made in packaged if made is not None}
