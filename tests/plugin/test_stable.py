"""The contract, version 1: what plugins rely on. A change here needs another number, or is none for them."""

import inspect
from typing import Any

import pytest

import tdbwatch.plugin
import tdbwatch.testing
from tdbwatch.plugin import Event, Kind, Sink, SinkContext, SinkType
from tdbwatch.plugin.hooks import HookSpecs

PROMISED = {
    "Delivered": "(detail='')",
    "Event.create": "(room='alerts', event='', args=(), *, kind=<Kind.EVENT: 'event'>, scope='//stuff', "
    "room_id=None, arg_names=(), details=None, received_us=None, hops=0)",
    "Event.json": "(self)",
    "Event.record": "(self)",
    "Rejected": "(reason)",
    "Retry": "(reason, after=None, pause=False)",
    "SinkClient.emit": "(self, room, event, *args, scope=None, timeout=None, "
    "cause=<the events of the delivery>)",
    "SinkClient.query": "(self, code, scope=None, timeout=None, **kwargs)",
    "SinkClient.run": "(self, procedure, *args, scope=None, timeout=None, **kwargs)",
    "SinkStore.delete": "(self, key)",
    "SinkStore.get": "(self, key, default=None)",
    "SinkStore.items": "(self)",
    "SinkStore.set": "(self, key, value)",
    "Sink.close": "(self)",
    "Sink.deliver": "(self, batch)",
    "Sink.open": "(self)",
    "trace_headers": "()",
    "sink": "(name, *, threaded=True, options=None, batch_count=100, batch_bytes=1000000)",
}


@pytest.mark.parametrize("name", PROMISED)
def test_signatures_stay(name: str) -> None:
    target: Any = tdbwatch.plugin
    for part in name.split("."):
        target = getattr(target, part)
    signature = inspect.signature(target)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    assert str(inspect.Signature(bare)) == PROMISED[name]


def test_this_is_version_1() -> None:
    assert tdbwatch.plugin.API_VERSION == 1


def test_names_stay() -> None:
    assert {
        *(
            "DELIVERED",
            "Delivered",
            "Duration",
            "Event",
            "FilePath",
            "Kind",
            "LoopError",
            "Options",
            "Outcome",
            "Rejected",
        ),
        *(
            "Retry",
            "Secret",
            "Sink",
            "SinkClient",
            "SinkStore",
            "SinkContext",
            "SinkType",
            "Size",
            "hookimpl",
            "hookspec",
            "sink",
        ),
    } <= set(tdbwatch.plugin.__all__)
    assert {"ManualClock", "deliver", "deliver_async", "make_event", "settle"} <= set(
        tdbwatch.testing.__all__
    )
    assert {"EmbeddedNode", "HttpServer", "RunningDaemon", "SinkConformance"} <= set(tdbwatch.testing.__all__)
    assert {"an_event", "client", "delivered", "failing", "limit", "options", "poison", "stalled"} <= set(
        dir(tdbwatch.testing.SinkConformance)
    )


def test_attributes_stay() -> None:
    have = {*Event.__struct_fields__, "time", "args", "data", "details"}
    fields = {
        "id",
        "kind",
        "received_us",
        "scope",
        "room",
        "room_id",
        "event",
        "payload",
        "arg_names",
        "hops",
    }
    assert fields | {"time", "args", "data", "details"} <= have
    assert {"name", "log", "clock", "metrics", "client", "store"} <= set(
        inspect.signature(SinkContext).parameters
    )
    assert list(inspect.signature(SinkType).parameters)[:5] == [
        *("name", "factory", "options", "threaded", "batch_count")
    ]
    assert list(inspect.signature(Sink).parameters) == ["options", "context"]
    assert {"event", "gap", "room", "node"} <= {kind.value for kind in Kind}


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("tdbwatch_event", ["event", "context"]),
        ("tdbwatch_events", ["batch", "context"]),
        ("tdbwatch_gap", ["gap", "context"]),
        ("tdbwatch_room", ["change", "context"]),
        ("tdbwatch_node", ["change", "context"]),
        ("tdbwatch_sinks", []),
        ("tdbwatch_started", ["version"]),
        ("tdbwatch_config", ["options"]),
        ("tdbwatch_functions", []),
        ("tdbwatch_filters", []),
        ("tdbwatch_reloaded", ["verdict"]),
        ("tdbwatch_stopping", []),
    ],
)
def test_hooks_keep_their_arguments(hook: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(HookSpecs, hook)).parameters)[1:] == arguments
