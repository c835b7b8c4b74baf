"""Makes the parts of the daemon from the configuration."""

import random
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from tdbwatch.client import Client, Heartbeat, Observer
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import Config, SinkConfig, SpoolConfig, ThingsDBConfig
from tdbwatch.daemon.couriers import BatchLimits, Counts, Courier, CourierSettings, Life
from tdbwatch.daemon.delivery.deliveries import Delivering
from tdbwatch.daemon.delivery.ordering import key_of
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.contexts import Contexts
from tdbwatch.daemon.hosting.hosts import Host, InlineHost, ThreadHost
from tdbwatch.daemon.hosting.tracing import Tracing
from tdbwatch.daemon.plugins import Registry
from tdbwatch.daemon.routing.current import Routing
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.security.login import NodeTls
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.daemon.spool.api import DeadLetter, Spool
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.redaction import redact


def make_client(
    config: ThingsDBConfig,
    observer: Observer,
    clock: Clock,
    rng: random.Random,
    tls: NodeTls | None = None,
) -> Client:
    """A client for the daemon: several links, events left undecoded. Nobody is shown what it logs in with."""
    redact.remember(secrets_in(config))
    client = Client(
        ssl=tls or NodeTls(config.tls),
        connections=config.live_connections,
        heartbeat=heartbeat_of(config),
        clock=clock,
        rng=rng,
        observer=observer,
        raw_events=True,
        check_spares=True,
    )
    client.set_default_scope(config.scope)
    return client


def heartbeat_of(config: ThingsDBConfig) -> Heartbeat:
    """How a silent node is noticed."""
    return Heartbeat(config.heartbeat.interval, config.heartbeat.timeout)


def limits_of(config: SpoolConfig) -> Limits:
    """How much the spool keeps."""
    return Limits(config.max_size, config.max_age, config.when_full)


def make_router(config: Config) -> Router:
    """The routes of the configuration."""
    return Router(config.routes, {sink.name: sink.hears for sink in config.sinks}, config.absences)


def delivering_maker(
    routing: Routing,
    registry: Registry,
    spool: Spool,
    clock: Clock,
    rng: random.Random,
    on_dead: Callable[[Sequence[DeadLetter]], None],
    contexts: Contexts,
    tracing: Tracing | None = None,
) -> Callable[[SinkConfig, Counts], Delivering]:
    """What makes a courier for a sink, with a host of its own."""
    life = Life(clock)

    def make(sink: SinkConfig, counts: Counts) -> Delivering:
        settings, wants = _settings(sink, registry.owner_of(sink.type)), routing.matcher(sink.name)
        host = make_host(sink, registry, contexts)
        if tracing is not None:
            host = tracing.host(host, sink.name, sink.type)
        courier = Courier(settings, host, spool, wants, clock, rng, life, on_dead, counts)
        return Delivering(sink, courier, host)

    return make


def _settings(sink: SinkConfig, plugin: str) -> CourierSettings:
    retry, batch = sink.retry, sink.batch
    return CourierSettings(
        name=sink.name,
        plugin=plugin,
        batch=BatchLimits(batch.count, batch.bytes, batch.wait),
        retry=RetryPolicy(
            initial=retry.initial,
            factor=retry.factor,
            maximum=retry.max,
            jitter=retry.jitter,
            max_attempts=retry.max_attempts,
            max_age=retry.max_age,
        ),
        max_in_flight=sink.max_in_flight,
        order=key_of(sink.order),
        on_exhausted=sink.on_exhausted,
    )


def make_host(sink: SinkConfig, registry: Registry, contexts: Contexts) -> Host:
    """Where a sink lives."""
    sink_type = registry.sink_types[sink.type]
    make = partial(sink_type.factory, sink.options, contexts.of(sink.name, sink.timeout))
    host = ThreadHost if sink_type.threaded else InlineHost
    log = structlog.get_logger("tdbwatch.hosts").bind(plugin=registry.owner_of(sink.type))
    return host(make, name=sink.name, timeout=sink.timeout, clock=contexts.clock, log=log)
