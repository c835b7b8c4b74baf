"""Made-up events that look like those of real operations."""

import random
from typing import Any, Final

_HOSTS: Final = ("web-01", "web-02", "db-01", "db-02", "cache-01", "queue-01")
_SERVICES: Final = ("checkout", "search", "billing", "login", "mailer")
_MOUNTS: Final = ("/", "/var", "/var/lib/postgresql", "/srv/media")


def happening(rng: random.Random) -> tuple[str, list[Any]]:
    """An event's name and its arguments: one map, as ThingsDB code emits things."""
    host, service = rng.choice(_HOSTS), rng.choice(_SERVICES)
    version = f"{rng.randint(1, 4)}.{rng.randint(0, 30)}.0"
    made: dict[str, dict[str, Any]] = {
        "disk-full": {
            "host": host,
            "mount": rng.choice(_MOUNTS),
            "used": rng.randint(91, 100),
            "severity": 5,
        },
        "cpu-high": {"host": host, "load": round(rng.uniform(8, 40), 1), "severity": rng.randint(2, 4)},
        "deploy-started": {"service": service, "version": version, "by": "ci"},
        "deploy-finished": {"service": service, "seconds": rng.randint(20, 300), "ok": rng.random() > 0.1},
        "login-failed": {"user": rng.choice(("root", "deploy")), "from": f"192.0.2.{rng.randint(1, 254)}"},
        "certificate-expires": {"host": host, "days": rng.randint(1, 14), "severity": 4},
        "queue-backlog": {"queue": service, "waiting": rng.randint(1_000, 90_000), "severity": 3},
    }
    event = rng.choice(list(made))
    return event, [made[event]]
