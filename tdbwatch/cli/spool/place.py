"""What the commands about a spool have in common: which one, what of it, and how they fail."""

import argparse
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.spool.owner import as_owner_of

if TYPE_CHECKING:
    from tdbwatch.daemon.config import Outline
    from tdbwatch.daemon.routing.routes import Matcher, Router
    from tdbwatch.daemon.spool.stored.blocks import Lane
    from tdbwatch.daemon.spool.stored.orders import Selection

_CODES: Final = """\
exit codes: 0 fine, 64 wrong usage, 65 damaged, 66 no such spool or event,
73 cannot write, 77 no permission, 78 bad configuration"""
Work = Callable[[argparse.Namespace], int]
_REMEDIES: Final = {
    "CANTOPEN": "may its folder be written?",
    "READONLY": "may the file and its folder be written?",
    "FULL": "make space on the disk",
    "BUSY": "another process keeps it locked; try again",
}
"""By what SQLite calls the trouble."""


@dataclass(frozen=True)
class Place:
    """A spool, and what the configuration that names it says of it, if one was given."""

    path: Path
    config: "Outline | None"

    @cached_property
    def router(self) -> "Router | None":
        """The routes of the configuration, if one was given."""
        from tdbwatch.daemon.routing.routes import Router

        if self.config is None:
            return None
        return Router.of_names(self.config.routes, self.config.sinks, self.config.absences)

    @property
    def user(self) -> str | None:
        """The process that uses the spool now."""
        from tdbwatch.daemon.spool.file.lock import SpoolLock

        return SpoolLock(self.path).holder()

    def sinks(self, known: set[str]) -> set[str]:
        """The sinks that there are: those of the configuration, else those that the spool knows."""
        return known if self.config is None else set(self.config.sinks)

    def wants(self, sink: str) -> "Matcher | None":
        """Whether the routes send an event to this sink; None: they are not known."""
        if self.router is None or sink not in self.sinks(set()):
            return None
        return self.router.matcher(sink)

    def may_be_unrouted(self, lane: "Lane") -> bool:
        """Whether events of this room may go nowhere, as far as is known."""
        return self.router is not None and not self.router.takes_all(lane)

    def unrouted(self, kind: str, scope: str, room: str, event: str) -> bool:
        """Whether events like this go nowhere, as far as is known."""
        return self.router is not None and kind == "event" and not self.router.takes(kind, scope, room, event)

    def when_served(self, sink: str) -> str:
        """When a request for this sink is taken up."""
        if sink not in self.sinks({sink}):
            return f"when there is a sink {sink!r} again: none of this name is configured"
        user = self.user
        return "when the daemon runs" if user is None else f"within about a second, by process {user}"


def add_place(parser: argparse.ArgumentParser) -> None:
    """Options that say which spool."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--config", "-c", type=Path, metavar="FILE", help="the daemon's configuration")
    group.add_argument("--spool", type=Path, metavar="PATH", help="the spool's file, without a configuration")


def add_filters(parser: argparse.ArgumentParser, *, sink: str) -> None:
    """Options that say which events or dead letters; `sink` is what that option means here."""
    parser.usage = f"{parser.prog} [-h] (--config FILE | --spool PATH) [...]"
    parser.add_argument("--sink", metavar="S", help=sink)
    parser.add_argument("--room", metavar="R", help="of rooms that this glob matches")
    parser.add_argument("--event", metavar="E", help="of events that this glob matches")
    parser.add_argument("--since", metavar="T", help="received since then: 2h, 7d, 2026-11-23T07:24:00Z")
    parser.add_argument("--until", metavar="T", help="received before then, written the same way")


def place_of(options: argparse.Namespace) -> Place:
    """The spool that the options name.

    Raises:
        CommandError: the configuration is not one to work with.
        SpoolError: the path leads nowhere, or somewhere that somebody else chose.
    """
    found: Place | None = getattr(options, "place", None)
    if found is None:  # later, as the spool's owner, the configuration may not be read
        found = options.place = _look_up(options)
    return found


def _look_up(options: argparse.Namespace) -> Place:
    from tdbwatch.daemon.config import ConfigError, read
    from tdbwatch.daemon.plugins.hearing import sinks_by_hooks
    from tdbwatch.daemon.spool.file.place import spool_file

    if options.config is None:
        return Place(spool_file(options.spool), None)
    try:
        document = read(options.config)
        config = document.outline()
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise CommandError(exits.BAD_CONFIG, "") from error
    with suppress(ConfigError):  # what is wrong with plugins keeps nobody from the spool
        plugins = document.plugins()
        by_hooks = sinks_by_hooks(plugins.paths, plugins.disable)
        config = replace(config, sinks=tuple(dict.fromkeys([*config.sinks, *by_hooks])))
    return Place(config.spool.path, config)


def place_for_sink(options: argparse.Namespace) -> Place:
    """As `place_of`, when there is that spool, and the sink of `--sink` in it or in the configuration.

    Raises:
        CommandError: neither knows the sink.
        SpoolError, sqlite3.Error: the spool cannot be read.
    """
    from tdbwatch.daemon.spool.looking.look import opened

    place = place_of(options)
    with opened(place.path) as look:
        if options.sink is not None:
            in_spool = look.sinks()
            require_sink(options.sink, place.sinks(in_spool) | in_spool)
    return place


def require_sink(sink: str, there: set[str]) -> None:
    """Refuse a sink that is not there.

    Raises:
        CommandError: with those that are.
    """
    from tdbwatch.daemon.config.problems import suggestion

    if sink not in there:
        known = suggestion(sink, there, "there are") or "the spool knows none yet"
        raise CommandError(exits.USAGE, f"there is no sink {sink!r}; {known}")


def selection_of(options: argparse.Namespace) -> "Selection":
    """What the filters select.

    Raises:
        CommandError: a time is none, or the two leave no time between them.
    """
    from tdbwatch.daemon.spool.stored.orders import Selection

    since_us = None if options.since is None else _time("--since", options.since)
    until_us = None if options.until is None else _time("--until", options.until)
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise CommandError(exits.USAGE, "--since is not before --until; a duration says how long ago")
    ids = tuple(options.ids) if getattr(options, "ids", None) else None
    return Selection(ids, options.sink, options.room, options.event, since_us=since_us, until_us=until_us)


def _time(option: str, text: str) -> int:
    from tdbwatch.plugin.options import parse_duration

    try:
        return int((datetime.now(UTC).timestamp() - parse_duration(text)) * 1_000_000)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        message = (
            f"{option}: {text!r} is neither a duration such as 2h nor a time such as 2026-11-23T07:24:00Z"
        )
        raise CommandError(exits.USAGE, message) from error
    return int((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def only_one(ids: Sequence[str], beginning: str) -> str | None:
    """The one of these ids, all of which begin so; None where there is none.

    Raises:
        CommandError: there are several.
    """
    if len(ids) > 1:
        message = (
            f"more than one event begins with {beginning}, such as {' and '.join(ids)}; write more of it"
        )
        raise CommandError(exits.USAGE, message)
    return ids[0] if ids else None


def command(
    actions: Any, name: str, work: Work, text: str, example: str, *, writes: bool = False
) -> argparse.ArgumentParser:
    """Add a command to those of `tdbwatch spool`."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example:\n  tdbwatch spool {name} {example}\n\n{_CODES}",
    )
    add_place(parser)
    parser.set_defaults(run=guarded(work, writes=writes))
    return parser


def guarded(work: Work, *, writes: bool = False) -> Work:
    """The command's function, with every way of failing turned into a message and an exit code."""

    def run(options: argparse.Namespace) -> int:
        from tdbwatch.daemon.spool.api import SpoolError

        try:
            with as_owner_of(place_of(options).path):
                return work(options)
        except SpoolError as error:
            raise CommandError(exits.NO_INPUT, str(error)) from error
        except PermissionError as error:
            remedy = "run this as the owner of the spool, or as root"
            message = f"{error.strerror}: {error.filename}; {remedy}"
            raise CommandError(exits.NO_PERMISSION, message) from error
        except sqlite3.Error as error:
            raise _trouble(options, error, writes) from error

    return run


def _trouble(options: argparse.Namespace, error: sqlite3.Error, writes: bool) -> CommandError:
    """What SQLite says, with the place and the likely remedy."""
    from tdbwatch.daemon.spool.errors import is_damage

    where = place_of(options).path
    if is_damage(error):
        message = f"the spool {where} is damaged: {error}; see `tdbwatch spool doctor`"
        return CommandError(exits.DAMAGED, message)
    kind = getattr(error, "sqlite_errorname", "").split("_", 2)[1:2]
    remedy = _REMEDIES.get("".join(kind), "see the disk, and who else has the file open")
    message = f"the spool {where} cannot be {'written' if writes else 'read'}: {error}; {remedy}"
    return CommandError(exits.CANNOT_WRITE if writes else exits.NO_INPUT, message)
