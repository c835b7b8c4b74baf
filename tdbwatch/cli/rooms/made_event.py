"""The event that a command line makes up, as if it were heard in a room."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError

if TYPE_CHECKING:
    from tdbwatch.daemon.config.models.config import Sections
    from tdbwatch.plugin import Event


def value_of(text: str) -> Any:
    """An argument as the command line says it: what JSON says, else text.

    Raises:
        CommandError: it is nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise CommandError(exits.USAGE, "an argument is nested too deep to be read") from None
    except ValueError:
        return text


def made_event(room: str, event: str, words: Iterable[str], sections: "Sections") -> "Event":
    """The event with these arguments.

    Raises:
        CommandError: no such room is watched, or ThingsDB could not carry such an event.
    """
    from tdbwatch.daemon.config.models.expectations import GivenConfig
    from tdbwatch.daemon.config.problems import suggestion
    from tdbwatch.daemon.routing.route_tests import event_of
    from tdbwatch.exceptions import EncodeError

    names = [one.record_name for one in sections.rooms]
    if room not in names:
        hint = suggestion(room, names, "the rooms are")
        raise CommandError(exits.USAGE, f"no room that is watched is called {room!r}; {hint}")
    given = GivenConfig(room=room, event=event, args=tuple(map(value_of, words)))
    try:
        return event_of(given, sections)
    except EncodeError as error:
        raise CommandError(exits.USAGE, f"there can be no such event: {error}") from error
