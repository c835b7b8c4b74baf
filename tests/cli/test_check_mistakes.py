"""Whatever mistakes people make, `check` names the place and the remedy of each, and no secret."""

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.cli.config import check

SECRET = "Zq7Wk9Xv"
Data = dict[str, Any]


class Plain(str):
    """Text without quotes in the file."""

    __slots__ = ()


def good() -> Data:
    return {
        "thingsdb": {
            "nodes": ["node01", "wss://node02:9270"],
            "auth": {"token": SECRET},
            "tls": {"verify": True},
            "canary": {"room": "tdbwatch_canary"},
        },
        "rooms": [
            "alerts",
            {"name": "deploys", "scope": "//ops", "args": ["service"]},
            {"id": 5, "as": "old"},
        ],
        "sinks": {
            "console": {"type": "log"},
            "oncall": {
                "type": "webhook",
                "url": f"https://example.org/{SECRET}",
                "headers": {"X-Api-Key": SECRET},
                "retry": {"max_age": "1d"},
            },
            "audit": {"type": "file", "path": "audit.jsonl", "rotate": {"size": "10MB"}},
        },
        "routes": [
            {"match": {"room": "alerts", "event": ["disk-*"]}, "to": ["oncall"]},
            {"to": ["console", "audit"]},
        ],
        "spool": {"path": "spool.db", "max_size": "1MiB"},
        "http": {"listen": "127.0.0.1:9280"},
        "shutdown": {"grace": "5s"},
    }


def put(*path: Any) -> Callable[[Data], None]:
    """Puts the last of these where the others lead."""

    def change(data: Data) -> None:
        target: Any = data
        for key in path[:-2]:
            target = target[key]
        if isinstance(target, list) and path[-2] == len(target):
            target.append(path[-1])
        else:
            target[path[-2]] = path[-1]

    return change


def twice(*pairs: Callable[[Data], None]) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for pair in pairs:
            pair(data)

    return change


MISTAKES: dict[str, Callable[[Data], None]] = {
    "thingsdb.nodes": put("thingsdb", "nodes", "node01"),
    "thingsdb.nodes[0]": put("thingsdb", "nodes", 0, "http://node01"),
    "thingsdb.auth": put("thingsdb", "auth", {"username": "admin"}),
    "thingsdb.auth.token": put("thingsdb", "auth", {"token": f"${SECRET}"}),
    "thingsdb.auth.token_file": put("thingsdb", "auth", {"token_file": "~/token"}),
    "thingsdb.auth.password_file": put("thingsdb", "auth", {"username": "u", "password_file": "nowhere"}),
    "thingsdb.connections": put("thingsdb", "connections", 3),
    "thingsdb.tls.verify": put("thingsdb", "tls", "verify", False),
    "thingsdb.scope": put("thingsdb", "scope", "stuff"),
    "thingsdb.canary": put("thingsdb", "canary", "room", "the-canary"),
    "rooms[1].name": put("rooms", 1, "name", Plain("“alerts”")),
    "rooms[1].args": put("rooms", 1, "args", "service"),
    "rooms[2]": put("rooms", 2, {"name": "alerts", "as": "again"}),
    "rooms[3]": put("rooms", 3, "tdbwatch_canary"),
    "rooms[0]": put("rooms", 0, {"name": "two words"}),
    "sinks.console.typ": put("sinks", "console", {"typ": "log"}),
    "sinks.oncall.url": put("sinks", "oncall", "url", f"htps://{SECRET}"),
    "sinks.oncall.headers.X-Api-Key_file": put("sinks", "oncall", "headers", {"X-Api-Key_file": SECRET}),
    "sinks.oncall.headers": put("sinks", "oncall", "headers", {"X Api": SECRET}),
    "sinks.oncall.proxy": put("sinks", "oncall", "proxy", f"http://u:{SECRET}@proxy:3128"),
    "sinks.oncall.retry.max_age": put("sinks", "oncall", "retry", {"max_age": "30d"}),
    "sinks.oncall.retry.initial": put("sinks", "oncall", "retry", {"initial": "1m30s"}),
    "sinks.oncall.timeout": put("sinks", "oncall", "timeout", 30),
    "sinks.oncall.secret": put("sinks", "oncall", "secret", f"whsec_{SECRET}!"),
    "sinks.audit.path": put("sinks", "audit", "path", "~/audit.jsonl"),
    "sinks.audit.rotate": put("sinks", "audit", "rotate", {}),
    "sinks.lost": put("sinks", "lost", {"type": "log"}),
    "sinks.'a b'": put("sinks", "a b", {"type": "log"}),
    "routes[0].match.room": put("routes", 0, "match", "room", "alertz"),
    "routes[0].match.event": put("routes", 0, "match", "event", "disk-*, raid-*"),
    "routes[0].match.event[0]": put("routes", 0, "match", "event", ["!disk-*"]),
    "routes[0].match.kind": put("routes", 0, "match", "kind", "gaps"),
    "routes[0].to": put("routes", 0, "to", "nobody"),
    "routes[2]": twice(put("routes", 1, "stop", True), put("routes", 2, {"to": "oncall"})),
    "spool.path": put("spool", "path", "."),
    "spool.max_size": put("spool", "max_size", "4000TB"),
    "spool.max_age": put("spool", "max_age", "200y"),
    "http.listen": put("http", "listen", "0.0.0.0:9280"),
    "shutdown.grace": put("shutdown", "grace", "10m"),
    "htpp": put("htpp", {}),
    "plugins.paths[0]": put("plugins", {"paths": ["~/plugins"]}),
    "logging.level": put("logging", {"level": "warn"}),
}


def yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(yaml, value)) + "]"
    return str(value) if isinstance(value, Plain) else json.dumps(value)


def checked(data: Data) -> tuple[int, str, str]:
    """What the command says: exit code, output, errors."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prod.yaml"
        file.write_text("\n".join(f"{key}: {yaml(item)}" for key, item in data.items()), "utf-8")
        parser = argparse.ArgumentParser()
        check.add_parser(parser.add_subparsers())
        args = parser.parse_args(["check", "--config", str(file)])
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = check.run(args)
        return code, out.getvalue().replace(folder, ""), err.getvalue().replace(folder, "")


def places(said: str) -> dict[str, str]:
    """What is said of each path: message and remedy."""
    parts = re.split(r"^/prod\.yaml:\d+:\d+: ", said, flags=re.MULTILINE)
    assert parts[0] == "", "everything has its place"
    return {part.partition(": ")[0]: part.partition(": ")[2] for part in parts[1:]}


def says_what_to_do(said: str) -> bool:
    return "\n    " in said or "must " in said or "; " in said


def test_the_good_configuration_has_nothing_wrong():
    code, out, err = checked(good())
    assert (code, err) == (0, "")
    assert out.endswith("3 sinks, 2 routes\n")


@pytest.mark.parametrize("where", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_remedy(where: str):
    data = good()
    MISTAKES[where](data)
    code, out, err = checked(data)
    told = places(err)
    assert where in told, err
    assert says_what_to_do(told[where])
    assert SECRET not in out + err
    assert code == (0 if told[where].startswith("warning: ") else 78)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(MISTAKES)), min_size=2, max_size=5, unique=True))
def test_several_mistakes_are_told_without_a_secret_and_without_a_traceback(chosen: list[str]):
    data = good()
    for where in chosen:
        try:
            MISTAKES[where](data)
        except (TypeError, KeyError, IndexError, AttributeError):  # one mistake took the place of another
            return
    _, out, err = checked(data)
    assert SECRET not in out + err
    assert "Traceback" not in err
    told = places(err)
    assert told
    assert all(map(says_what_to_do, told.values()))
