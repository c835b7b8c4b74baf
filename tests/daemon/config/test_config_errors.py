"""Every bad configuration ends in a message with the place and the remedy, and without secrets."""

import pytest

from tdbwatch.daemon.config import ConfigError, parse

from .config_errors_kit import problem, problems, sink, thingsdb, with_


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
        (with_(logging="{level: INFO}"), "error\n    did you mean info?"),
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
