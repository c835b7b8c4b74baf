"""The part of the configuration that is the same for every sink. Durations are seconds, sizes are bytes."""

from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from tdbwatch.backoff import BackoffPolicy
from tdbwatch.daemon.config.models.fields import (
    Order,
    PositiveDuration,
    Section,
    Text,
    UnlimitedCount,
    UnlimitedDuration,
)
from tdbwatch.daemon.config.problems import RefusedError
from tdbwatch.plugin import Duration, Options, SinkType, Size
from tdbwatch.plugin.sink import DEFAULT_BATCH, DEFAULT_BATCH_BYTES

_MOST_GROWING: Final = 10_000


class RetryConfig(Section):
    """When to offer an event again that a sink did not take."""

    initial: PositiveDuration = 1.0
    """Seconds before the second attempt."""
    factor: float = Field(default=2.0, ge=1, le=100, allow_inf_nan=False)
    """Each wait is this many times the one before."""
    max: PositiveDuration = 300.0
    """The longest wait in seconds."""
    jitter: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """The share of each wait that is drawn at random."""
    max_attempts: UnlimitedCount = None
    """Attempts before `on_exhausted`; None: `unlimited`."""
    max_age: UnlimitedDuration = 345_600.0
    """Seconds since the first attempt before `on_exhausted`, four days; None: `unlimited`."""

    @property
    def policy(self) -> BackoffPolicy:
        """The waits between attempts."""
        return BackoffPolicy(self.initial, self.factor, self.max, self.jitter)

    @property
    def reach(self) -> float | None:
        """Seconds after which `max_attempts` are used up at the latest; None: they never are."""
        if self.max_attempts is None:
            return None
        waits = self.max_attempts - 1
        growing = min(waits, _MOST_GROWING)  # from there on all are the longest one, or hardly grow
        policy = self.policy
        return sum(map(policy.ceiling, range(growing))) + (waits - growing) * policy.ceiling(growing)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.max < self.initial:
            raise RefusedError("the longest wait (max) is shorter than the first one (initial)", "raise max")
        return self


class BatchConfig(Section):
    """How many events a sink gets at once."""

    count: int = Field(default=DEFAULT_BATCH, ge=1, le=100_000)
    """At most this many events; the type of the sink may have another default."""
    bytes: Size = Field(default=DEFAULT_BATCH_BYTES, ge=1)
    """At most this many bytes of payload; one event always fits. As with `count`, the type may differ."""
    wait: Duration = 0.0
    """Seconds to wait for more events before a batch that is not full is delivered."""


class SinkSettings(Section):
    """What every sink has, whatever its type. All other keys belong to the type's options."""

    type: Text
    """The sink's type; `tdbwatch plugins` lists them."""
    retry: RetryConfig = RetryConfig()
    """When to offer an event again."""
    batch: BatchConfig = BatchConfig()
    """How many events at once."""
    timeout: PositiveDuration = 30.0
    """Seconds for one delivery; longer counts as failed."""
    max_in_flight: int = Field(default=1, ge=1, le=1000)
    """Batches under way at once; `order` says which events are in none of these together."""
    order: Order = "room"
    """What keeps its order: `room`, `none`, or what has the same key in a room: a CEL expression."""
    on_exhausted: Literal["dead_letter", "block"] = "dead_letter"
    """What becomes of an event when `retry` gives up on it: set it aside, or hold its room."""


def parted(data: dict[str, Any], sink_type: SinkType) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys that all sinks have, and the type's options; a type may ask for one of the first as well."""
    common = SinkSettings.model_fields
    own = {key: data[key] for key in data if key not in common or key in sink_type.options.model_fields}
    return {key: data[key] for key in data if key in common}, own


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """One sink.

    Attributes:
        options: an instance of its type's options model.
        hears: the kinds of records that it hears by a plugin's hooks.
        fingerprint: tells whether it is as before: of all that is said of it, and of the files that it names.
    """

    name: str
    settings: SinkSettings
    options: Options
    hears: frozenset[str] = frozenset()
    fingerprint: str = ""

    @property
    def type(self) -> str:
        return self.settings.type

    @property
    def retry(self) -> RetryConfig:
        return self.settings.retry

    @property
    def batch(self) -> BatchConfig:
        return self.settings.batch

    @property
    def timeout(self) -> float:
        return self.settings.timeout

    @property
    def max_in_flight(self) -> int:
        return self.settings.max_in_flight

    @property
    def order(self) -> str:
        return self.settings.order

    @property
    def on_exhausted(self) -> Literal["dead_letter", "block"]:
        return self.settings.on_exhausted
