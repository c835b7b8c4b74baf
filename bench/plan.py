"""How much is measured: all of it in about eight minutes, the quick part in three."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run. Counts are of events, `seconds` is for events that are paced by the clock."""

    rounds: int
    blast: int
    """For this client; python-thingsdb gets a quarter, since only rates are compared."""
    decode: int
    seconds: float
    idle_seconds: float
    memory: int
    pipeline: int
    pipeline_rounds: int
    many_sinks: int
    backlog: int
    flood: int
    isolation_rounds: int
    isolation_seconds: float
    """Long enough that the sick sinks' couriers have read ahead as far as they may."""


FULL = Plan(
    rounds=4,
    blast=600_000,
    decode=100_000,
    seconds=6.0,
    idle_seconds=20.0,
    memory=1_000_000,
    pipeline=100_000,
    pipeline_rounds=7,
    many_sinks=25_000,
    backlog=1_000_000,
    flood=5_000_000,
    isolation_rounds=6,
    isolation_seconds=5.0,
)
QUICK = Plan(
    rounds=1,
    blast=200_000,
    decode=50_000,
    seconds=1.0,
    idle_seconds=4.0,
    memory=200_000,
    pipeline=50_000,
    pipeline_rounds=3,
    many_sinks=5_000,
    backlog=100_000,
    flood=500_000,
    isolation_rounds=2,
    isolation_seconds=4.0,
)
