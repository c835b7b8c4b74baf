"""Whether plugins are still what was loaded: Python cannot unload code, so what has changed waits."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdbwatch.daemon.plugins.sources import Candidate, Refused, find

State = tuple[str, ...]
"""A plugin's name, and all that tells its code from other code."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What there was to load.

    Attributes:
        paths: the folders that were looked into.
        disable: names of plugins that were left out.
    """

    paths: Sequence[Path]
    disable: Collection[str]
    states: frozenset[State]

    def changes(self) -> Iterator[str]:
        """In words, by plugin, what is otherwise by now. Blocks."""
        now = states_of(find(self.paths), self.disable)
        before, after = ({name for name, *_ in states} for states in (self.states, now))
        for name in sorted({name for name, *_ in self.states ^ now}):
            if name not in before:
                yield f"plugin {name} was added"
            else:
                yield f"plugin {name} was {'changed' if name in after else 'removed'}"


def states_of(found: Iterable[Candidate | Refused], disable: Collection[str]) -> frozenset[State]:
    """What tells these from what is there at another time."""
    return frozenset(_state(one) for one in found if one.name not in disable)


def _state(one: Candidate | Refused) -> State:
    if isinstance(one, Refused):
        return one.name, one.where, one.reason
    return one.name, one.origin, one.stamp
