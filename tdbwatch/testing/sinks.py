"""Trying a sink in a test, the way the daemon runs it."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pydantic import ValidationError

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.plugins.event_hooks import sink_by_hooks
from tdbwatch.plugin import (
    DELIVERED,
    Delivered,
    Event,
    Options,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkClient,
    SinkContext,
    SinkStore,
    SinkType,
)
from tdbwatch.plugin.sink import Verdict, delivered_by, marked

_ANY_CONFIGURATION: Final = {
    "thingsdb": {"nodes": ["localhost"], "auth": {"token": "none is asked"}},
    "rooms": ["alerts"],
}

make_event = Event.create
"""An event as tdbwatch makes them: `make_event("alerts", "disk-full", ["db1", 91])`. See `Event.create`."""


def deliver(
    target: object,
    events: Event | Sequence[Event],
    options: Mapping[str, Any] | Options | None = None,
    *,
    name: str = "test",
    clock: Clock = SYSTEM_CLOCK,
    client: SinkClient | None = None,
    store: SinkStore | None = None,
    timeout: float = 30.0,
) -> list[Outcome]:
    """Open the sink, let it deliver these events as one batch, close it, and say what became of each.

    Runs in a thread with an event loop of its own, as the daemon runs plugins' sinks; so it can be called
    from plain tests and from async ones. In an async test it blocks the loop: when the sink talks to a
    server in the same loop, await `deliver_async`.

    Args:
        target: what `@sink` decorates, a function or a class; a hook such as `tdbwatch_event`, or the module
            that has it; or a `SinkType`.
        events: one event or a batch.
        options: as a user writes them in the configuration, or an instance of the options' model.
        name: the sink's name in the configuration.
        clock: what the sink gets as its clock.
        client: likewise, as what it asks ThingsDB with, such as `embedded_node.client()`.
        store: likewise, as what it keeps; by default an empty one.
        timeout: seconds for all of it.

    Returns:
        An outcome for each event that the sink tried; fewer than events if it left some for the next call.

    Raises:
        pydantic.ValidationError: the options are not right.
        TypeError: the target is no sink, or it answers what is no verdict.
        TimeoutError: it took longer than `timeout`.
        Exception: whatever the sink raises; the daemon would take it as `Retry`.
    """

    async def run() -> list[Outcome]:
        return await deliver_async(
            target, events, options, name=name, clock=clock, client=client, store=store, timeout=timeout
        )

    with ThreadPoolExecutor(1, "sink under test") as pool:
        return pool.submit(asyncio.run, run()).result()


async def deliver_async(
    target: object,
    events: Event | Sequence[Event],
    options: Mapping[str, Any] | Options | None = None,
    *,
    name: str = "test",
    clock: Clock = SYSTEM_CLOCK,
    client: SinkClient | None = None,
    store: SinkStore | None = None,
    timeout: float = 30.0,
) -> list[Outcome]:
    """As `deliver`, in the running event loop."""
    sink_type = sink_type_of(target)
    batch = [events] if isinstance(events, Event) else list(events)
    context = SinkContext(name, clock=clock, client=client or SinkClient(), store=store or SinkStore())
    sink = sink_type.factory(options_for(sink_type, options), context)
    async with asyncio.timeout(timeout):
        try:
            await sink.open()
            outcomes = outcomes_of(await delivered_by(sink, batch), len(batch))
        except BaseException as error:
            await _close_after(sink, error)
            raise
        await sink.close()
        return outcomes


def sink_type_of(target: object, name: str = "test") -> SinkType:
    """The sink type that `target` is; one that it is by its hooks is called `name`.

    Raises:
        TypeError: it is none.
    """
    if isinstance(target, SinkType):
        return target
    sink_type = marked(target) or sink_by_hooks(target, name)
    if sink_type is None:
        raise TypeError(f"{target!r} is no sink: decorate it with @sink(NAME) or @hookimpl")
    return sink_type


def offers_sink(plugin: object) -> bool:
    """Whether it is a sink: a module may have other hooks only."""
    return isinstance(plugin, SinkType) or (marked(plugin) or sink_by_hooks(plugin, "test")) is not None


async def _close_after(sink: Sink, error: BaseException) -> None:
    """Close it, and let what `close` raises not hide why: after `open` failed it may well raise, too."""
    try:
        await sink.close()
    except Exception as later:  # noqa: BLE001 - whatever it is, the first error is the cause
        error.add_note(f"then close raised {type(later).__name__}: {later}")


def options_for(sink_type: SinkType, options: Mapping[str, Any] | Options | None) -> Options:
    """The options as the sink gets them: read and checked as those in a configuration file are.

    So `token_file` and `${NAME}` may be written; relative paths start at the current folder.

    Raises:
        pydantic.ValidationError: they are not right.
        ConfigError: likewise, where a secret's file or credential is named.
    """
    if isinstance(options, Options):
        return options
    from tdbwatch.daemon.config import ConfigError, parse  # not needed by those who give an instance

    written = {**_ANY_CONFIGURATION, "sinks": {"test": {"type": sink_type.name, **dict(options or {})}}}
    try:
        config = parse(json.dumps(written).encode(), "test.yaml", os.environ)
        return config.config({sink_type.name: sink_type}).sinks[0].options
    except ConfigError as error:
        if not any(key.endswith(("_file", "_credential")) for key in options or ()):
            _as_pydantic_says_it(sink_type, options, error)
        raise


def _as_pydantic_says_it(sink_type: SinkType, options: Mapping[str, Any] | None, because: Exception) -> None:
    try:
        sink_type.options.model_validate_json(json.dumps(dict(options or {})))
    except ValidationError as error:
        raise error from because


def outcomes_of(verdict: Verdict, count: int) -> list[Outcome]:
    """What `Sink.deliver` returned for `count` events, one for each that was tried.

    Raises:
        TypeError: it is no verdict.
    """
    if verdict is None:
        return [DELIVERED] * count
    if isinstance(verdict, Delivered | Retry | Rejected):
        return [verdict] * count
    outcomes = list(verdict)
    if len(outcomes) > count:
        raise TypeError(f"the sink answered {len(outcomes)} outcomes for {count} events")
    for outcome in outcomes:
        if not isinstance(outcome, Delivered | Retry | Rejected):
            raise TypeError(f"the sink answered {outcome!r}, which is no outcome")
    return outcomes
