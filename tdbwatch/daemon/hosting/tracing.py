"""Traces, where the environment asks for them by OpenTelemetry's own variables, and its SDK is installed.

This module and `traced` are all that knows of OpenTelemetry; without it a delivery passes no line of either.
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import structlog

from tdbwatch import __version__
from tdbwatch.blocking import in_own_thread
from tdbwatch.daemon.hosting.hosts import Host

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH: Final = 1.5
"""Seconds that the end may wait for whoever takes the last spans."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GROUP: Final = "opentelemetry_traces_exporter"
"""The entry points by which packages offer exporters."""
_REMEDY: Final = "install it where tdbwatch is: pip install 'tdbwatch[otel]'; events flow without it"


class Tracing:
    """Makes a span of each call of a sink.

    Args:
        provider: where spans come from, and go to.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("tdbwatch", __version__)

    def host(self, host: Host, sink: str, sink_type: str) -> Host:
        """The same host, traced."""
        from tdbwatch.daemon.hosting.traced import TracedHost

        return TracedHost(host, self._tracer, sink, sink_type)

    async def close(self) -> None:
        """Send what there is, if somebody takes it soon."""
        try:
            async with asyncio.timeout(FLUSH):
                await in_own_thread(self._provider.shutdown, "tdbwatch-tracing")
        except TimeoutError:
            structlog.get_logger("tdbwatch.tracing").warning("tracing.spans_lost", seconds=FLUSH)


def tracing_from(environ: Mapping[str, str]) -> Tracing | None:
    """What the variables ask for; None: nothing, or what is not installed, which is logged."""
    names = _exporters(environ)
    if not names:
        return None
    log = structlog.get_logger("tdbwatch.tracing")
    try:
        provider = _provider(names, environ)
    except ImportError as error:
        log.error("tracing.unusable", reason=str(error), remedy=_REMEDY)
    except Exception as error:  # noqa: BLE001 - exporters read variables of their own, and raise what they like
        log.error(
            "tracing.unusable", reason=f"{type(error).__name__}: {error}", remedy="see its OTEL_* variables"
        )
    else:
        log.info("tracing.on", exporters=names)
        return Tracing(provider)
    return None


def _exporters(environ: Mapping[str, str]) -> list[str]:
    """The exporters that are wanted; tracing is off where no variable names one, or where to."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if not named:
        return ["otlp"] if any(environ.get(name) for name in _ENDPOINTS) else []
    return [name for each in named.split(",") if (name := each.strip()) and name != "none"]


def _provider(names: list[str], environ: Mapping[str, str]) -> "TracerProvider":
    """The SDK's own variables, for sampling, batching and resources, it reads itself.

    Raises:
        ImportError: it, or an exporter, is not installed.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = {"service.version": __version__}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        own["service.name"] = "tdbwatch"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name, environ)()))
    return provider


def _exporter(name: str, environ: Mapping[str, str]) -> "type":
    if name == "otlp":
        protocol = next((value for each in _PROTOCOLS if (value := environ.get(each))), "")
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = list(entry_points(group=_GROUP, name=name))
    if not found:
        raise ImportError(f"there is no exporter {name!r}")
    made: type = found[0].load()
    return made
