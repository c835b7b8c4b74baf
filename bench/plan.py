"""How much is measured: all of it in under five minutes, the quick half in one."""

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
    many_sinks: int
    backlog: int


FULL = Plan(
    rounds=4,
    blast=600_000,
    decode=100_000,
    seconds=6.0,
    idle_seconds=20.0,
    memory=1_000_000,
    pipeline=100_000,
    many_sinks=25_000,
    backlog=1_000_000,
)
QUICK = Plan(
    rounds=1,
    blast=200_000,
    decode=50_000,
    seconds=1.0,
    idle_seconds=4.0,
    memory=200_000,
    pipeline=50_000,
    many_sinks=5_000,
    backlog=100_000,
)
