"""How commands come to ThingsDB: by the daemon's configuration, or by what the command line says."""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError

if TYPE_CHECKING:
    from tdbwatch.client import Client
    from tdbwatch.daemon.config import RoomConfig, ThingsDBConfig

CONNECT_SECONDS: Final = 10.0
"""How long a command tries to connect."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where ThingsDB is, who we are, and the rooms of the configuration."""

    thingsdb: "ThingsDBConfig"
    rooms: tuple["RoomConfig", ...] = ()


def add_access(
    parser: argparse.ArgumentParser, *, scope: str = "collection of rooms that name none (//stuff)"
) -> None:
    """Options that say where and who; `scope` is what that option means here."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", "-c", type=Path, metavar="FILE", help="the daemon's configuration")
    where.add_argument(
        "--node", "-n", action="append", metavar="NODE", help="a node, such as node01:9200; repeatable"
    )
    parser.add_argument("--scope", "-s", metavar="SCOPE", help=scope)
    parser.add_argument(
        "--user", "-u", metavar="NAME", help="log in so; password: $THINGSDB_PASSWORD or asked for"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="or with this token, or $THINGSDB_TOKEN"
    )


def access_of(options: argparse.Namespace) -> Access:
    """What the options say.

    Raises:
        CommandError: the configuration, or what the options say, is not one to work with.
    """
    from tdbwatch.daemon.config import ConfigError, read

    if options.config is None:
        return Access(_written(options))
    try:
        sections = read(options.config).sections()
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise CommandError(exits.BAD_CONFIG, "") from error
    return Access(sections.thingsdb, sections.rooms)


def _written(options: argparse.Namespace) -> "ThingsDBConfig":
    """As if it were written in a configuration, so that it is checked with the same words."""
    import json

    from tdbwatch.daemon.config import ConfigError, parse

    thingsdb: dict[str, Any] = {"nodes": options.node, "auth": _login(options)}
    if options.scope is not None:
        thingsdb["scope"] = options.scope
    document = json.dumps({"thingsdb": thingsdb, "rooms": [{"id": 0}], "sinks": {}})
    try:
        return parse(document.encode(), "command line", {}).sections().thingsdb
    except ConfigError as error:
        said = [f"{problem.message} ({problem.path.removeprefix('thingsdb.')})" for problem in error.problems]
        raise CommandError(exits.USAGE, "; ".join(said)) from error


def _login(options: argparse.Namespace) -> dict[str, str]:
    if options.user is not None:
        password = os.environ.get("THINGSDB_PASSWORD")
        if password is None and sys.stdin is not None and sys.stdin.isatty():
            password = getpass.getpass(f"password of {options.user}: ")
        if password is None:
            raise CommandError(exits.USAGE, "no password: set $THINGSDB_PASSWORD, or run this on a terminal")
        return {"username": options.user, "password": password}
    if options.token_file is not None:
        return {"token_file": str(options.token_file.absolute())}
    if token := os.environ.get("THINGSDB_TOKEN"):
        return {"token": token}
    raise CommandError(exits.USAGE, "who logs in? give --user or --token-file, or set $THINGSDB_TOKEN")


@asynccontextmanager
async def connected(config: "ThingsDBConfig") -> AsyncIterator["Client"]:
    """A client that is logged in, and closed at the end.

    Raises:
        CommandError: no node can be reached in time, or the login is refused.
    """
    import random

    from tdbwatch.client import Observer
    from tdbwatch.clock import SYSTEM_CLOCK
    from tdbwatch.daemon.assembly import make_client

    refusals: dict[object, str] = {}

    class Noting(Observer):
        def refused(self, address: object, reason: str, wait: float, *, by_all: bool) -> None:  # noqa: ARG002
            refusals[address] = reason

    client = make_client(config, Noting(), SYSTEM_CLOCK, random.Random())
    try:
        await _connect(client, config, refusals)
        yield client
    finally:
        with suppress(OSError):
            await client.close_and_wait()


async def _connect(client: "Client", config: "ThingsDBConfig", refusals: Mapping[object, str]) -> None:
    from tdbwatch.daemon.security.login import Login
    from tdbwatch.exceptions import AuthError

    nodes = ", ".join(str(node) for node in config.nodes)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect_pool(config.nodes, Login(config.auth))
    except TimeoutError:
        if refusals:
            said = "; ".join(refusals.values())
            message = (
                f"{said}; no other node answers within {CONNECT_SECONDS:g} s; check the user or the token"
            )
            raise CommandError(exits.BAD_CONFIG, message) from None
        message = f"no node can be reached within {CONNECT_SECONDS:g} s: {nodes}; see that one runs"
        raise CommandError(exits.UNAVAILABLE, message) from None
    except AuthError as error:
        raise CommandError(exits.BAD_CONFIG, f"{error}; check the user or the token") from error


@asynccontextmanager
async def answered() -> AsyncIterator[None]:
    """What is asked of a node within is answered in time.

    Raises:
        CommandError: it is not.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            yield
    except TimeoutError as error:
        message = f"the node does not answer within {CONNECT_SECONDS:g} s; what was asked may be done or not"
        raise CommandError(exits.UNAVAILABLE, message) from error


def room_of(text: str, scope: str) -> "RoomConfig":
    """The room that a text names: `alerts`, `//ops/deploys`, or an id; without a collection, in `scope`.

    Raises:
        CommandError: it names none.
    """
    from tdbwatch.daemon.config import RoomConfig
    from tdbwatch.wire.names import is_room_name
    from tdbwatch.wire.scopes import collection_of

    place, _, name = text.rpartition("/")
    place = place or scope
    if collection_of(place) is not None:
        if is_room_name(name):
            return RoomConfig(name=name, scope=place)
        if name.isdecimal() and int(name) < 1 << 63:
            return RoomConfig(id=int(name), scope=place)
    raise CommandError(
        exits.USAGE, f"{text!r} is not a room; write for instance alerts, //ops/deploys, or 123"
    )
