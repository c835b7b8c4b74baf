"""Every bad configuration ends in a message with the place and the remedy, and without secrets."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, field_validator, model_validator

from tdbwatch.daemon.config import ConfigError, Problem, load, parse, read
from tdbwatch.plugin import Duration, FilePath, OptionError, Options, Secret, SinkType
from tdbwatch.sinks.file.options import FileOptions
from tdbwatch.sinks.webhook.options import WebhookOptions

from .config_kit import Idle, has_remedy

GOOD = {
    "thingsdb": "{nodes: [node01], auth: {token: t0ken}}",
    "rooms": "[alerts]",
    "sinks": "{console: {type: log}}",
}


class Basic(Options):
    user: str


class Bearer(Options):
    token: str


class HookOptions(Options):
    url: str
    auth: Basic | list[Bearer] | None = None
    wait: Duration = 1.0
    count: int = 1
    secret: Secret | None = None
    crash: bool = False

    @field_validator("secret")
    @classmethod
    def _tells(cls, value: Secret) -> Secret:
        raise ValueError(f"bad secret {value.get_secret_value()}")

    @model_validator(mode="after")
    def _explode(self) -> Any:
        if self.crash:
            raise RuntimeError(self.url)
        return self


class FixedOptions(Options):
    url: Secret

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: Secret) -> Secret:
        text = value.get_secret_value()
        if text.startswith("no-"):
            raise ValueError(f"{text} has no host")
        raise OptionError("this is no URL", "write for instance https://example.org/hook")


class HeaderOptions(Options):
    headers: dict[str, Secret] = Field(default_factory=dict)
    keys: list[Secret] = Field(default_factory=list)
    folder: FilePath | None = None


TYPES = {
    "headers": SinkType("headers", Idle, HeaderOptions),
    "file": SinkType("file", Idle, FileOptions),
    "log": SinkType("log", Idle),
    "hook": SinkType("hook", Idle, HookOptions),
    "fixed": SinkType("fixed", Idle, FixedOptions),
    "webhook": SinkType("webhook", Idle, WebhookOptions),
}


def problems(text: str | bytes, environ: dict[str, str] | None = None) -> tuple[Problem, ...]:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse(content, "prod.yaml", environ or {}).config(TYPES)
    assert caught.value.problems
    for found in caught.value.problems:
        assert has_remedy(found), f"no remedy: {found}"
    return caught.value.problems


def problem(text: str | bytes, environ: dict[str, str] | None = None) -> str:
    found = problems(text, environ)
    assert len(found) == 1, "\n".join(map(str, found))
    return str(found[0])


def with_(**sections: str | None) -> str:
    parts = {**GOOD, **sections}
    return "\n".join(f"{name}: {text}" for name, text in parts.items() if text is not None)


def thingsdb(text: str) -> str:
    return with_(thingsdb=f"{{nodes: [a], auth: {{token: t}}, {text}}}")


def sink(text: str) -> str:
    return with_(sinks=f"{{s: {{{text}}}}}")


def test_a_message_has_file_line_column_path_and_remedy():
    text = "sinks:\n  s:\n    type: hook\n    urll: x\n    url: y\n"
    assert problem(text + with_(sinks=None)) == (
        "prod.yaml:4:5: sinks.s.urll: unknown key\n"
        "    did you mean url? the keys here are: auth, batch, count, crash, max_in_flight, on_exhausted, "
        "order, retry, secret, secret_credential, secret_file, timeout, type, url, wait"
    )


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    found = problems(
        "thingsdb: {nodes: [a]}\nrooms: [a, {id: x}]\nsinks: {s: {type: lag}, t: {type: log, x: 1}}\nhtpp: {}"
    )
    assert [(item.line, item.path) for item in found] == [
        (1, "thingsdb.auth"),
        (2, "rooms[1].id"),
        (3, "sinks.s.type"),
        (3, "sinks.t.x"),
        (4, "htpp"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (with_(loging="{}"), "prod.yaml:4:1: loging: unknown key\n    did you mean logging? "),
        (with_(thingsdb=None), "thingsdb: is missing\n    say where ThingsDB is"),
        (with_(rooms=None), "rooms: is missing\n    say what to watch"),
        (with_(sinks=None), "sinks: is missing\n    say where events go"),
        (with_(rooms=""), "rooms: is missing"),
        (with_(rooms="[]"), "rooms: must not be empty"),
        (with_(sinks="{}"), "sinks: must be a mapping of names to sinks"),
        (with_(sinks="[log]"), "sinks: must be a mapping of names to sinks"),
        (with_(rooms="alerts"), "rooms: must be a list, not text\n    write [value, ...]"),
        (with_(spool="x"), "spool: must be a mapping (key: value), not text"),
        (
            with_(logging="{level: warn}"),
            "must be one of debug, info, warning, error\n    did you mean warning?",
        ),
        (with_(http="{}"), "http.listen: is missing"),
        (with_(http="{listen: localhost}"), "http.listen: this is not host:port\n    write for instance"),
        (
            with_(http="{listen: 9280}"),
            'http.listen: this is not host:port\n    write for instance "127.0.0.1:9280"',
        ),
        (with_(http="{listen: 'x:http'}"), "http.listen: this is not host:port"),
        (with_(http="{listen: 'x:65536'}"), "http.listen: the port is too high\n    ports go up to 65535"),
        (with_(http=f"{{listen: 'x:{'9' * 5000}'}}"), "http.listen: the port is too high"),
        (
            with_(spool="{max_size: 10}"),
            "spool.max_size: a number without a unit\n    write for instance 512kB, 10MB or 1GiB",
        ),
        (
            with_(spool="{max_size: 10Q}"),
            "spool.max_size: a number with an unknown unit\n    the units are B, kB, MB",
        ),
        (with_(spool="{max_size: 1kB}"), "spool.max_size: must be at least 1MiB"),
        (
            with_(spool="{max_age: soon}"),
            "spool.max_age: not a duration\n    write for instance 500ms, 10s, 5m",
        ),
        (
            with_(spool="{max_age: 1d12h}"),
            "a duration has one number and one unit\n    write for instance 90s for 1m30s",
        ),
        (
            with_(spool="{max_age: 1y}"),
            "a number with an unknown unit\n    the units are us, ms, s, m, h, d, w",
        ),
        (with_(spool="{max_age: 36526d}"), "longer than a century\n    lower it"),
        (with_(spool="{max_size: 99999999TiB}"), "larger than any disk\n    lower it"),
        (with_(spool="{when_full: stop}"), "must be one of drop_oldest, drop_newest"),
        (with_(shutdown="{grace: -1s}"), "shutdown.grace: less than nothing\n    write for instance"),
        (with_(shutdown=f"{{grace: {'9' * 400}s}}"), "not a duration"),
        (with_(shutdown=f"{{grace: {'9' * 30}s}}"), "longer than a century"),
        (with_(plugins="{paths: x}"), "plugins.paths: must be a list, not text"),
    ],
)
def test_sections(text: str, expected: str):
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (thingsdb("nodez: [a]"), "did you mean nodes? the keys here are: auth, canary,"),
        (with_(thingsdb="{nodes: [], auth: {token: t}}"), "thingsdb.nodes: must not be empty"),
        (with_(thingsdb="{nodes: node01, auth: {token: t}}"), "thingsdb.nodes: must be a list, not text"),
        (with_(thingsdb="{nodes: [a, 'b:0'], auth: {token: t}}"), "thingsdb.nodes[1]: "),
        (with_(thingsdb="{nodes: [5], auth: {token: t}}"), "thingsdb.nodes[0]: must be a node's address"),
        (with_(thingsdb="{nodes: [a, 'a:9200'], auth: {token: t}}"), "items 1 and 2 are the same"),
        (
            thingsdb("scope: /thingsdb"),
            "thingsdb.scope: this is not the scope of a collection\n    rooms live",
        ),
        (thingsdb("connections: many"), "connections: must be auto or a whole number, not text"),
        (thingsdb("connections: 0"), "connections must be auto or a number from 1 to 16"),
        (thingsdb("connections: true"), "connections: must be auto or a whole number, not true or false"),
        (thingsdb("tls: {}"), "tls is set but no node is a wss:// one"),
        (thingsdb("heartbeat: {interval: 20s}"), "the timeout must be longer than the interval"),
        (
            thingsdb("canary: {room: tdbwatch-canary}"),
            "canary: a room's name has at most 255 letters, digits and _",
        ),
        (
            thingsdb("canary: {room: '.canary.id()'}"),
            "no digit first\n    write for instance tdbwatch_canary",
        ),
        (thingsdb("canary: {room: 5}"), "canary.room: must be text, not a number"),
        (thingsdb("heartbeat: {interval: 0s}"), "heartbeat.interval: must be greater than 0s"),
        (with_(thingsdb="{nodes: [a]}"), "thingsdb.auth: is missing"),
        (
            with_(thingsdb="{nodes: [a], auth: {}}"),
            "neither a token nor a user with password\n    write token",
        ),
        (with_(thingsdb="{nodes: [a], auth: {username: u}}"), "neither a token nor a user with password"),
        (with_(thingsdb="{nodes: [a], auth: {token: ''}}"), "the token is empty"),
        (with_(thingsdb="{nodes: [a], auth: {token: t, username: u, password: p}}"), "exclude each other"),
        (with_(thingsdb="{nodes: [a], auth: {token: t, token_file: f}}"), "only one of token, token_file"),
        (
            with_(thingsdb="{nodes: [a], auth: {token: 12}}"),
            "auth.token: must be text, not a number\n    put it",
        ),
    ],
)
def test_thingsdb(text: str, expected: str):
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        ("{}", "rooms[0]: a room needs exactly one of name, id and code; this one has none"),
        ("{name: a, id: 1}", "this one has name and id"),
        (
            "{code: x}",
            "a room found by code needs a name for its records\n    add for instance `as: monitor`",
        ),
        ("{id: -1}", "rooms[0].id: must be at least 0"),
        ("{id: '1'}", "rooms[0].id: must be a whole number, not text\n    remove the quotes"),
        ("{name: ''}", "rooms[0].name: must not be empty"),
        ("{name: a, scope: stuff}", "rooms[0].scope: this is not the scope of a collection"),
        ("{name: a, args: user}", "rooms[0].args: must be a list or a mapping (key: value), not text"),
        ("{name: a, args: {x: user}}", "rooms[0].args.x: must be a list, not text\n    write [value, ...]"),
        ("{name: a, args: {x: [u, u]}}", "items 1 and 2 are the same"),
        ("{name: a, args: [x, x]}", "items 1 and 2 are the same"),
        ("{name: a, required: yes}", "rooms[0].required: must be true or false, not text\n    write true"),
        (
            "5",
            "rooms[0]: must be a room's name or a mapping, not a number\n    write {id: 5} for the room with",
        ),
        ("-5", "rooms[0]: must be a room's name or a mapping, not a number\n    write for instance alerts"),
        ("true", "rooms[0]: must be a room's name or a mapping, not true or false\n    write for instance"),
        ("[a]", "rooms[0]: must be a room's name or a mapping, not a list"),
        ("null", "rooms[0]: must be a room's name or a mapping, not empty"),
        ("'5'", "and no digit first\n    write {id: ID} for the room with this id"),
        ("1st", "and no digit first\n    for a room found by ThingsDB code write {code: ..., as: NAME}"),
        (
            "a, a",
            "rooms[1]: another room of this scope has the same name or id (line 2)\n    remove one, or give",
        ),
        ("a, {id: 1, as: a}", "rooms[1]: another room of this scope has the same name"),
        (
            "{id: 1}, {id: 1, scope: '@:stuff'}",
            "rooms[1]: another room of this scope has the same name or id",
        ),
        ("{name: a, as: x}, {name: b, as: x}", "rooms[1]: another room of this scope has the same name"),
    ],
)
def test_rooms(room: str, expected: str):
    assert expected in problem(with_(rooms=f"[{room}]"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            sink("type: hoook, url: x"),
            "s.type: no plugin offers this type of sink\n    did you mean hook? the types",
        ),
        (
            sink("type: hook, url: x, auth: {usr: u, user: v}"),
            "sinks.s.auth.usr: unknown key\n    did you mean user?",
        ),
        (sink("type: hook, url: x, auth: [{}]"), "sinks.s.auth[0].token: is missing"),
        (
            sink("type: hook, url: x, auth: 5"),
            "sinks.s.auth: must be a mapping (key: value) or a list, not a number",
        ),
        (sink("x: 1"), "sinks.s.type: is missing\n    add type"),
        (sink("type: 5"), "sinks.s.type: must be text"),
        (sink("type: hook"), "sinks.s.url: is missing\n    add url"),
        (sink("type: hook, url: x, wait: 5"), "sinks.s.wait: a number without a unit"),
        (sink("type: hook, url: x, count: many"), "sinks.s.count: must be a whole number, not text"),
        (sink("type: log, retry: {initial: 10m}"), "sinks.s.retry: the longest wait (max) is shorter"),
        (sink("type: log, retry: {max_attempts: 0}"), "sinks.s.retry.max_attempts: must be at least 1"),
        (
            sink("type: log, retry: {max_attempts: lots}"),
            "sinks.s.retry.max_attempts: must be unlimited or a whole number, not text",
        ),
        (sink("type: log, retry: {max_attempts: Unlimited}"), "not text\n    did you mean unlimited?"),
        (
            sink("type: log, retry: {max_age: long}"),
            "not a duration\n    write for instance 500ms, 10s, 5m or 7d, or unlimited",
        ),
        (
            sink("type: log, retry: {max_age:}"),
            "sinks.s.retry.max_age: is empty\n    write a value, or unlimited",
        ),
        (sink("type: log, retry: {attempts: 3}"), "unknown key\n    did you mean max_attempts?"),
        (sink("type: log, retry: {jitter: 2}"), "sinks.s.retry.jitter: must be at most 1"),
        (sink("type: log, retry: {factor: .nan}"), "sinks.s.retry.factor: must be a finite number"),
        (sink("type: log, batch: {count: 0}"), "sinks.s.batch.count: must be at least 1"),
        (sink("type: log, batch: {bytes: 0B}"), "sinks.s.batch.bytes: must be at least 1B"),
        (
            sink("type: log, max_in_flight: 1.5"),
            "sinks.s.max_in_flight: must be a whole number, not a number with a fraction",
        ),
        (
            sink("type: fixed, url: example.org"),
            "sinks.s.url: this is no URL\n    write for instance https://example.org/hook",
        ),
        (
            sink("type: fixed, url: no-host"),
            "sinks.s.url: this secret is not accepted here\n    the reason is not shown, since it may repeat",
        ),
        (sink("type: log, timeout: 0s"), "sinks.s.timeout: must be greater than 0s"),
        (sink("type: log, on_exhausted: drop"), "on_exhausted: must be one of dead_letter, block"),
        (sink("type: log, order: 'agrs[0].host'"), "order: there is no 'agrs' here\n    did you mean args?"),
        (sink("type: log, order: 'args[0'"), "order: "),
        (sink("type: log, order: 7"), "order: must be an expression, as text"),
        (sink("type: log, order: [room]"), "order: must be an expression, as text"),
        (sink("type: log, order: null"), "order: is empty\n    write room, none, or an expression"),
        (
            with_(sinks="{s: log}"),
            "sinks.s: must be a mapping (key: value)\n    write for instance {type: log}",
        ),
        (with_(sinks="{'a b': {type: log}}"), "sinks.'a b': a sink's name may hold letters"),
        (
            sink("type: hook, url: secret-url, crash: true"),
            "cannot be checked: RuntimeError in the plugin's own code",
        ),
    ],
)
def test_sinks(text: str, expected: str):
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("headers: {X: {file: /nowhere}}", "sinks.s.headers.X.file: cannot be read: No such file"),
        ("keys: ['a', {file: ''}]", "sinks.s.keys[1].file: must be a file's path"),
        ("headers: {X: {credential: x}}", "sinks.s.headers.X.credential: there are no systemd credentials"),
        ("headers: {X: {fil: x}}", "sinks.s.headers.X: must be text, not a mapping"),
        (
            "headers: {X-Api-Key_file: /etc/hunter2}",
            "sinks.s.headers.X-Api-Key_file: no secret is read by a key like this: its file would be sent\n"
            "    write X-Api-Key: {file: PATH}",
        ),
        ("headers: {X-Api-Key_CREDENTIAL: hunter2}", "write X-Api-Key: {credential: NAME}"),
    ],
)
def test_secrets_within(text: str, expected: str):
    shown = problem(sink(f"type: headers, {text}"))
    assert expected in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (with_(spool="{path: ~/spool.db}"), "spool.path"),
        (with_(plugins="{paths: [~/plugins.d]}"), "plugins.paths"),
        (with_(thingsdb="{nodes: [a], auth: {token_file: ~/token}}"), "thingsdb.auth.token_file"),
        (
            with_(thingsdb="{nodes: ['wss://a'], auth: {token: t}, tls: {ca_file: ~/ca}}"),
            "thingsdb.tls.ca_file",
        ),
        (sink("type: headers, folder: ~root/x"), "sinks.s.folder"),
        (sink("type: headers, headers: {X: {file: ~/x}}"), "sinks.s.headers.X.file"),
        (sink("type: file, path: '~/{room}.jsonl'"), "sinks.s.path"),
    ],
)
def test_a_home_is_nobodys_here_wherever_a_path_may_stand(text: str, where: str):
    found = problem(text)
    assert f"{where}" in found
    assert ": a ~ stands for nobody's home here\n    write the whole path" in found


@pytest.mark.parametrize("quoted", ["“alerts”", "‘alerts’", "„alerts“", "«alerts»", "”alerts"])
def test_typographic_quotes_are_no_quotes(quoted: str):
    found = problem(with_(rooms=f"[{quoted}]"))
    assert "rooms[0]: this quote is a part of the text: YAML knows straight ones only" in found
    assert "write straight quotes" in found


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("{}", "routes[0]: a route to no sink does nothing\n    name sinks; or add `stop: true`"),
        (
            "{to: consol}",
            "routes[0].to: there is no sink of this name\n    did you mean console? the sinks are: console",
        ),
        ("{to: [console, x]}", "routes[0].to[1]: there is no sink of this name\n    the sinks are: console"),
        ("{to: []}", "routes[0]: a route to no sink does nothing"),
        ("{to: [console, console]}", "routes[0]: items 1 and 2 are the same"),
        (
            "{to: console, where: 'agrs[0] > 1'}",
            ":32: routes[0].where: there is no 'agrs' here\n    did you mean args?",
        ),
        ("{to: console, where: room == 7}", ":36: routes[0].where: == does not work with (string, int)"),
        (
            "{to: console, where: true}",
            "routes[0].where: must be an expression, as text\n    put it in quotes",
        ),
        ("{to: console, where: event}", "routes[0].where: this is text, not true or false\n    compare it"),
        (
            "{to: console, on_error: match}",
            "on_error is about `where`, and there is none\n    remove on_error",
        ),
        ("{to: console, set: {a-b: '1'}}", "this cannot be a field's name\n    use letters, digits and _"),
        ("{to: console, set: {a: 'b'}}", "routes[0].set.a: there is no 'b' here"),
        ("{to: console, match: {fields: {a: '['}}}", "routes[0].match.fields.a: a [ that is never closed"),
        ("{to: console, match: {room: 'a[b'}}", "routes[0].match.room[0]: a [ that is never closed"),
        ("{to: console, match: {event: ''}}", "a glob must not be empty"),
        ("{to: console, match: {event: []}}", "routes[0].match.event: must not be empty"),
        (
            "{to: console, match: {kind: gaps}}",
            "must be one of event, gap, room, node, dead_letter, sink, suppressed",
        ),
        (
            "{to: console, group: {wait: 1m}, dedupe: {window: 1m, key: room}}",
            "dedupe and group exclude each other\n    dedupe is a throttle",
        ),
        ("{to: console, group: {wait: 0s}}", "routes[0].group.wait: must be greater than 0s"),
        ("{to: console, group: {wait: 1m, max: 1}}", "routes[0].group.max: must be at least 2"),
        ("{to: console, group: {max: 5}}", "routes[0].group.wait: is missing"),
        ("{to: console, group: {wait: 1m, key: rom}}", "routes[0].group.key: there is no 'rom' here"),
        ("{stop: true, group: {wait: 1m}}", "a route that groups sends to sinks itself"),
        ("{to: console, group: {wait: 1m}, routes: [{to: console}]}", "a route that groups sends to"),
        (
            "{to: console, match: {kind: [event, group]}, throttle: {count: 1, per: 1m}}",
            "records of kind group cannot be held back",
        ),
        ("{to: console, match: {rooms: a}}", "unknown key\n    did you mean room?"),
        ("{to: console, stop: 1}", "routes[0].stop: must be true or false, not a number"),
    ],
)
def test_routes(route: str, expected: str):
    assert expected.replace("room[0]", "room") in problem(with_(routes=f"[{route}]"))


@pytest.mark.parametrize(
    ("absence", "expected"),
    [
        ("match: {}, after: 1m", "absences[0].name: is missing"),
        ("name: a b, match: {}, after: 1m", "absences[0].name: an absence's name may hold letters"),
        ("name: a, match: {}", "absences[0].after: is missing"),
        ("name: a, match: {}, after: 0s", "absences[0].after: must be greater than 0s"),
        ("name: a, after: 1m", "absences[0].match: is missing"),
        ("name: a, match: {fields: {x: y}}, after: 1m", "absences[0].match.fields: unknown key"),
        ("name: a, match: {kind: absence}, after: 1m", "the absence of absences cannot be told"),
        ("name: a, match: {}, where: evnt, after: 1m", "absences[0].where: there is no 'evnt' here"),
        ("name: a, match: {}, on_error: match, after: 1m", "on_error is about `where`, and there is none"),
        ("name: a, match: {}, after: 1m, to: consol", "absences[0].to: there is no sink of this name"),
        ("name: a, match: {}, after: 1m, stop: true", "absences[0].stop: unknown key"),
    ],
)
def test_absences(absence: str, expected: str):
    assert expected in problem(with_(absences=f"[{{{absence}}}]"))


def test_absences_of_one_name_are_refused():
    one = "{name: a, match: {}, after: 1m}"
    assert "items 1 and 2 are the same" in problem(with_(absences=f"[{one}, {one}]"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "prod.yaml:1:1: the file is empty\n    begin with thingsdb:, rooms: and sinks:"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "the file must hold a mapping"),
        (
            "rooms:\n\t- a\n",
            "prod.yaml:2:1: rooms: this is not valid YAML: a tab stands where only spaces may",
        ),
        ("rooms:\n  - a\n \t- b\n", "a tab stands where only spaces may"),
        ("rooms: [a\nsinks: b\n", "prod.yaml:2:6: rooms[1]: this is not valid YAML: a bracket is not closed"),
        ("a: b: c\n", "prod.yaml:1:5: this is not valid YAML: a second `:` in one value"),
        ("a: 'x\n", "prod.yaml:1:4: a: this is not valid YAML: a quote is opened here and never closed"),
        ("a: [\n", "the file ends inside a bracket"),
        ("a: @x\n", "text cannot begin with this character\n    put the text in quotes"),
        ('a: "\\q"\n', "unknown escape in a quoted text"),
        ('a: "\\UFFFFFFFF"\n', "this is not valid YAML"),
        ("a: {b: ${C}}\n", 'a ${NAME} without quotes inside { }\n    write "${NAME}"'),
        ("a: x\x07y\n", "prod.yaml:1:5: this is not valid YAML: it holds a control character"),
        (b"a: \xff\n", "prod.yaml:1:4: this is not UTF-8 text\n    save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "this is not UTF-8 text"),
        ("a: 1\n---\nb: 2\n", "prod.yaml:2:1: a second YAML document begins here"),
        ("a: " + "[" * 40, "nested more than 32 levels deep"),
        ("a: !h!hunter2 x\n", "a YAML tag (!) is not allowed here"),
    ],
)
def test_what_is_not_yaml(text: str | bytes, expected: str):
    shown = problem(text)
    assert expected in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            with_(sinks="{c: {type: log}, c: {type: log}}"),
            "sinks.c: two sinks have this name; the first is on line 3",
        ),
        (with_() + "\nrooms: [b]", "prod.yaml:4:1: rooms: this key is written twice; the first is on line 2"),
        (with_(spool="{max_age: 1d, max_age: 2d}"), "spool.max_age: this key is written twice"),
        (
            with_(sinks="{1: {type: log}, c: {type: log}}"),
            'sinks: a key must be text\n    put it in quotes: "1"',
        ),
        (with_(sinks="{[a]: {type: log}, c: {type: log}}"), "sinks: a key must be text"),
        (with_(sinks='{"": {type: log}, c: {type: log}}'), "sinks: a key must be text"),
        (with_(sinks='{"\\0x": {type: log}, c: {type: log}}'), "sinks: a key must be text"),
        (with_(rooms="[&x alerts]"), "rooms[0]: an anchor (&) is not allowed here"),
        (
            thingsdb("scope: *hunter2"),
            "thingsdb.scope: an alias (*) is not allowed here\n    write the value out",
        ),
        (with_(sinks="{*hunter2 : {type: log}, c: {type: log}}"), "an alias (*) is not allowed here"),
        (sink("type: log, <<: {timeout: 1s}"), "a merge key (<<) is not allowed here"),
        (with_(rooms="[!!python/object/apply:os.system [hunter2]]"), "a YAML tag (!) is not allowed here"),
        (with_(rooms="[!hunter2 alerts]"), "a YAML tag (!) is not allowed here"),
        (with_(rooms='["\\ud800"]'), "rooms[0]: holds half a surrogate pair"),
    ],
)
def test_what_yaml_allows_but_we_do_not(text: str, expected: str):
    shown = "\n".join(map(str, problems(text)))
    assert expected in shown
    assert "hunter2" not in shown


def test_a_yaml_bomb_is_refused_before_it_grows():
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [
        f"{chr(i + 1)}: &{chr(i + 1)} [{', '.join(['*' + chr(i)] * 9)}]" for i in range(ord("a"), ord("h"))
    ]
    assert "an anchor (&) is not allowed here" in "\n".join(map(str, problems("\n".join(levels))))


def test_a_flood_of_problems_is_cut_short():
    with pytest.raises(ConfigError) as caught:
        parse(b"a:\n" + b"  - &x y\n" * 10_000, "prod.yaml", {})
    assert len(caught.value.problems) == 100
    assert str(caught.value).endswith("... and 40 more")


def test_a_file_that_is_missing(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory\n    check the path"):
        read(tmp_path / "no.yaml", {})


def test_a_folder(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: it is a folder\n    name a file"):
        load(tmp_path, TYPES, {})


def test_a_fifo_is_refused_rather_than_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="it is not a regular file"):
        read(tmp_path / "fifo", {})


def test_a_huge_file_is_not_read(tmp_path: Path):
    (tmp_path / "huge.yaml").write_bytes(b"#" * 600_000)
    with pytest.raises(ConfigError, match="it is larger than 512 KiB"):
        read(tmp_path / "huge.yaml", {})


def test_a_path_that_no_file_can_have():
    with pytest.raises(ConfigError, match="not a file's path"):
        read("a\0b", {})


@pytest.fixture
def unreadable(tmp_path: Path):
    """A file that we may not read. root may read everything, so for a while we are not root."""
    file = tmp_path / "c.yaml"
    file.write_text(with_())
    file.chmod(0)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    yield file
    os.seteuid(mine)


def test_a_file_without_the_right_to_read_it(unreadable: Path):
    with pytest.raises(ConfigError, match="Permission denied\n    give the user that runs tdbwatch"):
        read(unreadable, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "${NOPE}",
            "sinks.s.url: the environment variable NOPE is not set\n    set it, or give a default: ${NOPE:-",
        ),
        ("${NO PE}", "a ${ that begins no reference\n    write ${NAME}"),
        ("${", "a ${ that begins no reference"),
        ("${A:-x", "a ${ that begins no reference"),
        ("${1A}", "a ${ that begins no reference"),
        ("${BAD}", "the environment variable BAD is not UTF-8 text"),
    ],
)
def test_references_that_cannot_be_resolved(text: str, expected: str):
    assert expected in problem(sink(f"type: hook, url: '{text}'"), {"BAD": "\udcff"})


def test_a_missing_variable_is_told_once_also_where_a_number_is_wanted():
    assert "connections: the environment variable N is not set" in problem(thingsdb('connections: "${N}"'))


@pytest.mark.parametrize(
    "text",
    [
        sink("type: '${S}'"),
        sink("type: hook, url: x, wait: '${S}'"),
        sink("type: hook, url: x, count: '${S}'"),
        sink("type: hook, url: x, secret: '${S}'"),
        sink("type: hook, url: x, secret: hush-hush"),
        sink("type: hook, url: '${S}', crash: true"),
        sink("type: log, on_exhausted: '${S}'"),
        sink("type: log, retry: '${S}'"),
        sink("type: log, retry: {max_age: '${S}'}"),
        with_(routes="[{to: '${S}'}]"),
        with_(routes="[{to: ['console', '${S}', '${S}']}]"),
        with_(routes="[{to: console, match: {kind: '${S}', room: '${S}['}}]"),
        with_(rooms="[{name: a, args: ['${S}', '${S}']}]"),
        with_(rooms="['${S}', '${S}']"),
        with_(http="{listen: '${S}'}"),
        with_(spool="{max_size: '${S}'}"),
        thingsdb("scope: '${S}'"),
        with_(thingsdb="{nodes: ['a b ${S}'], auth: {token: t}}"),
        with_(thingsdb="{nodes: [a], auth: {token_file: '${S}'}}"),
        with_(thingsdb="{nodes: [a], auth: {token: [hush-hush]}}"),
        with_(thingsdb="{nodes: [a], auth: {token: '${S}', username: '${S}', password: '${S}'}}"),
    ],
)
def test_no_message_shows_what_may_be_a_secret(text: str):
    shown = "\n".join(map(str, problems(text, {"S": "hush-hush"})))
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the secret's file is empty"),
        (b"\n", "the secret's file is empty"),
        (b"\xff", "the secret's file is not UTF-8 text"),
        (b"a\0b", "holds a NUL byte"),
        (b"x" * 70_000, "cannot be read: it is larger than 64 KiB"),
    ],
)
def test_bad_secret_files(tmp_path: Path, content: bytes | None, expected: str):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    shown = problem(with_(thingsdb=f"{{nodes: [a], auth: {{token_file: '{tmp_path}/secret'}}}}"))
    assert f"thingsdb.auth.token_file: {expected}" in shown.replace("the secret's file holds", "holds")


@pytest.mark.parametrize(
    ("value", "environ", "expected"),
    [
        ("tok", {}, "CREDENTIALS_DIRECTORY is not set\n    add LoadCredential=tok:/path to the unit"),
        (
            "tok",
            {"CREDENTIALS_DIRECTORY": "/nowhere"},
            "there is no systemd credential tok\n    add LoadCredential=",
        ),
        ("../tok", {"CREDENTIALS_DIRECTORY": "/nowhere"}, "a credential's name holds no /"),
        ("5", {}, "must be the name of a systemd credential"),
    ],
)
def test_bad_credentials(value: str, environ: dict[str, str], expected: str):
    text = with_(thingsdb=f"{{nodes: [a], auth: {{token_credential: {value}}}}}")
    assert f"thingsdb.auth.token_credential: {expected}" in problem(text, environ).replace(
        "there are no systemd credentials: CRED", "CRED"
    )


def test_the_problems_of_plugins_come_first_and_alone():
    document = parse(with_(plugins="{path: [x]}", rooms="5").encode(), "prod.yaml", {})
    with pytest.raises(ConfigError) as caught:
        document.plugins()
    assert [item.path for item in caught.value.problems] == ["plugins.path"]


def test_names_in_messages_cannot_drive_a_terminal():
    shown = "\n".join(map(str, problems(with_(sinks='{"a\\u009b2J": {type: log}}'))))
    assert "\x9b" not in shown


@pytest.mark.parametrize("name", ["my-alerts", "../../etc/x", "1st", ".alerts.id();"])
def test_a_name_that_no_room_can_have_is_refused(name):
    assert "letters, digits and _ only" in problem(
        f"thingsdb: {{nodes: [a], auth: {{token: t}}}}\nrooms: ['{name}']\nsinks: {{console: {{type: log}}}}"
    )


def test_a_mistake_in_a_block_of_text_is_placed_in_its_line():
    text = with_(routes="[]").replace(
        "routes: []", "routes:\n  - to: console\n    where: |\n      room == 'a'\n      && agrs[0]\n"
    )
    line = text.splitlines().index("      && agrs[0]") + 1
    assert f"prod.yaml:{line}:4: routes[0].where: there is no 'agrs' here" in problem(text)


def test_an_expression_from_the_environment_is_not_shown():
    text = with_(routes="[{to: console, where: '${HIDDEN}'}]")
    assert "s3cr3t" not in problem(text, {"HIDDEN": "s3cr3t_name == 1"})


HELD = {"X": "hunter2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            sink("type: webhook, url: 'https://h/{{ rom }}'"),
            "s.url: there is no 'rom' here; did you mean room?",
        ),
        (sink("type: webhook, url: 'https://h/${X}/{{ rom }}'"), "s.url: there is no 'rom' here"),
        (
            sink("type: webhook, url: 'https://h/', headers: {A: '${X} {{ room | upp }}'}"),
            "s.headers: the header A: there is no filter 'upp'",
        ),
        (
            sink("type: webhook, url: 'https://h/', body: {a: ['${X}{{ rom }}']}"),
            "s.body: a[0]: there is no 'rom' here",
        ),
        (
            sink("type: webhook, url: 'https://h/', body: '${X}{% include rom %}'"),
            "s.body: include does not work here",
        ),
        (
            with_(routes="[{to: console, where: \"args[0] == '${X}' && agrs\"}]"),
            "where: there is no 'agrs' here",
        ),
        (with_(sinks="{console: {type: log, order: \"'${X}' + agrs\"}}"), "order: there is no 'agrs' here"),
    ],
)
def test_a_name_that_is_not_there_is_told_beside_what_is_hidden(text: str, expected: str):
    shown = problem(text, HELD)
    assert expected in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text",
    [
        sink("type: webhook, url: 'https://h/{{ ${X} }}'"),
        sink("type: webhook, url: 'https://h/', headers: {A: '{{ room | ${X} }}'}"),
        sink("type: webhook, url: 'https://h/', headers: {A: 'hunter2 {{ room }'}"),
        sink("type: webhook, url: 'https://h/', body: '${X}{{ room }'"),
        sink("type: webhook, url: 'https://h/', body: '{{ ${X} }}'"),
    ],
)
def test_a_template_that_is_wrong_otherwise_is_not_shown(text: str):
    shown = problem(text, HELD)
    assert "is no template\n    the reason is not shown" in shown
    assert "hunter2" not in shown


def test_where_a_name_stands_does_not_tell_how_long_a_secret_is():
    text = with_(routes="[{to: console, where: \"'${X}' == agrs\"}]")
    assert problem(text, HELD) == problem(text, {"X": "s3cr3t_of_another_length"})
