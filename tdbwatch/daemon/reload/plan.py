"""What becomes otherwise when one configuration takes the place of another. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tdbwatch.daemon.config import Config, RoomConfig, SinkConfig
from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.secrets.rotating import Rotating
from tdbwatch.plugin import Options

RESTART: Final = (
    "thingsdb.connections",
    "spool.path",
    "plugins.paths",
    "plugins.disable",
)
"""Keys of which a change waits for a restart; until then what was before holds."""
LIVE: Final = (
    *("thingsdb.nodes", "thingsdb.auth", "thingsdb.tls", "thingsdb.heartbeat", "thingsdb.canary"),
    *("spool.max_size", "spool.max_age", "spool.when_full"),
    *("http", "logging", "shutdown"),
)
"""Keys, beside rooms, sinks, routes and absences, of which a change is taken up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """From one configuration to the next.

    Attributes:
        config: what is in use then: the new one, with what needs a restart as it was, and with the very sinks
            that stay.
        changed: what of `rooms`, `routes` and the other live keys is otherwise.
        opened, closed, reopened: the names of sinks.
        changes: all of it in words.
        restart: the keys that are otherwise and wait for a restart.
        plugins: by name, those with other options of their own, with these.
    """

    config: Config
    changed: frozenset[str]
    opened: tuple[str, ...]
    closed: tuple[str, ...]
    reopened: tuple[str, ...]
    changes: tuple[str, ...]
    restart: tuple[str, ...]
    plugins: Mapping[str, Options]


def plan(old: Config, new: Config) -> Plan:
    """What has to be done to get from `old`, which is in use, to `new`."""
    restart = tuple(key for key in RESTART if _at(old, key) != _at(new, key))
    before, after = _by_name(old.sinks), _by_name(new.sinks)
    same = {name for name in before.keys() & after.keys() if _is_same(before[name], after[name])}
    opened = tuple(name for name in after if name not in before)
    closed = tuple(name for name in before if name not in after)
    reopened = tuple(name for name in after if name in before and name not in same)
    plugins = {
        name: options
        for name, options in new.plugin_options.items()
        if options != old.plugin_options.get(name)
    }
    keys = ("rooms", "routes", "absences", *LIVE)
    changed = frozenset(key for key in keys if _at(old, key) != _at(new, key))
    sinks = tuple(before[one.name] if one.name in same else one for one in new.sinks)
    others: set[Path] = {("plugins", "options", name) for name in new.plugin_options if name not in plugins}
    others |= set() if "http" in changed else {("http",)}
    config = new.model_copy(
        update={
            **_kept(old, new, restart),
            "sinks": sinks,
            "plugin_options": {**new.plugin_options, **old.plugin_options, **plugins},
            "http": new.http if "http" in changed else old.http,
            "rotating": _rotating(old, new, {("sinks", name) for name in same} | others),
        }
    )
    words = (
        *_rooms_said(old.rooms, new.rooms),
        *(f"sink {name} opened" for name in opened),
        *(f"sink {name} closed" for name in closed),
        *(f"sink {name} reopened" for name in reopened),
        *(f"options of plugin {name} changed" for name in plugins),
        *(f"{key} changed" for key in keys if key in changed and key != "rooms"),
    )
    return Plan(config, changed, opened, closed, reopened, words, restart, plugins)


def _is_same(old: SinkConfig, new: SinkConfig) -> bool:
    """Whether the sink can stay open. Its type is the same code for as long as the process lives."""
    return old.fingerprint == new.fingerprint and old.settings == new.settings and old.hears == new.hears


def _rooms_said(old: tuple[RoomConfig, ...], new: tuple[RoomConfig, ...]) -> Iterator[str]:
    before, after = ({room.target: room for room in rooms} for rooms in (old, new))
    for target, room in after.items():
        if target not in before:
            yield f"room {room.record_name} in {target[2]} joined"
        elif before[target] != room:
            yield f"room {room.record_name} in {target[2]} changed"
    for target, room in before.items():
        if target not in after:
            yield f"room {room.record_name} in {target[2]} left"


def _kept(old: Config, new: Config, restart: tuple[str, ...]) -> dict[str, Any]:
    """The sections of `new`, with these keys as they are in `old`."""
    sections: dict[str, Any] = {}
    for key in restart:
        section, _, name = key.partition(".")
        now = sections.get(section, getattr(new, section))
        sections[section] = now.model_copy(update={name: _at(old, key)})
    return sections


def _rotating(old: Config, new: Config, same: Collection[Path]) -> Rotating | None:
    """What stays has the secrets of before: they are renewed where they are.

    Args:
        same: the paths of what does.
    """
    if old.rotating is None or new.rotating is None:
        return new.rotating
    secrets = dict(new.rotating.secrets)
    for path, secret in old.rotating.secrets.items():
        if path in secrets and any(path[: len(one)] == one for one in same):
            secrets[path] = secret
    return replace(new.rotating, secrets=secrets)


def _by_name(sinks: tuple[SinkConfig, ...]) -> dict[str, SinkConfig]:
    return {sink.name: sink for sink in sinks}


def _at(config: Config, key: str) -> Any:
    if key == "thingsdb.canary" and config.thingsdb.canary is not None:
        return config.thingsdb.canary, config.thingsdb.scope  # where it names none itself
    if key == "thingsdb.connections":
        return min(config.thingsdb.live_connections, len(config.thingsdb.nodes))  # links that there can be
    section, _, name = key.partition(".")
    value = getattr(config, section)
    return getattr(value, name) if name else value
