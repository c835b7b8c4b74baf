"""What all links of a client have in common."""

import random
from dataclasses import dataclass, field
from typing import Final

from tdbwatch.backoff import BackoffPolicy
from tdbwatch.client.links.heartbeat import Heartbeat
from tdbwatch.client.links.observer import Observer
from tdbwatch.client.links.pool import NODE_BACKOFF
from tdbwatch.client.login import Ask, Auth
from tdbwatch.client.transports import SslSetting
from tdbwatch.clock import SYSTEM_CLOCK, Clock

CONNECT_TIMEOUT: Final = 5.0
"""Seconds."""
AUTH_TIMEOUT: Final = 10.0
"""Seconds for the login."""


@dataclass(slots=True)
class Settings:
    """How links are made; shared by all of them, and changed by the client only."""

    ssl: SslSetting = None
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    raw_events: bool = False
    connect_timeout: float | None = CONNECT_TIMEOUT
    backoff: BackoffPolicy = NODE_BACKOFF
    clock: Clock = SYSTEM_CLOCK
    rng: random.Random = field(default_factory=random.Random)
    observer: Observer = field(default_factory=Observer)
    auth: Auth | Ask | None = field(default=None, repr=False)
    check_spares: bool = False
    """Try nodes that are in trouble also while others are enough, so that what is said of them stays true."""
    merging: bool = False
    """Several links hear the same rooms at all times, not only while one takes over from another."""
    proven: bool = False
    """There was a connection with these settings: from now on nothing is given up."""
