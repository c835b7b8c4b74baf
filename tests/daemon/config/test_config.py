"""A good configuration becomes what it says."""

from pathlib import Path

import pytest
from pydantic import Field

from tdbwatch.client.addresses import Address
from tdbwatch.daemon.config import Config, load, parse, read
from tdbwatch.plugin import Duration, Options, Secret, SinkType

from .config_kit import Idle

MINIMAL = """
thingsdb: {nodes: [node01], auth: {token: t0ken}}
rooms: [alerts]
sinks: {console: {type: log}}
"""


class HookOptions(Options):
    url: str
    secret: Secret | None = None
    folder: Path | None = None
    tags: tuple[str, ...] = ()
    timeout: Duration = 30.0
    retries: int = 3


TYPES = {
    "log": SinkType("log", Idle),
    "hook": SinkType("hook", Idle, HookOptions),
    "many": SinkType("many", Idle, batch_count=1000),
}


def config(text: str, environ: dict[str, str] | None = None, file: str = "/etc/tdbwatch/prod.yaml") -> Config:
    return parse(text.encode(), file, environ or {}).config(TYPES)


def with_(**sections: str) -> str:
    """The minimal configuration with other sections in place of its own, or added."""
    parts = {line.partition(":")[0]: line for line in MINIMAL.strip().splitlines()}
    parts.update({name: f"{name}: {text}" for name, text in sections.items()})
    return "\n".join(parts.values())


def sink(options: str, environ: dict[str, str] | None = None):
    return config(with_(sinks=f"{{s: {{{options}}}}}"), environ).sinks[0]


def test_the_least_configuration_has_the_documented_defaults():
    made = config(MINIMAL)
    assert made.thingsdb.nodes == (Address("tcp", "node01", 9200),)
    assert made.thingsdb.auth.token is not None
    assert made.thingsdb.auth.token.get_secret_value() == "t0ken"
    assert (made.thingsdb.scope, made.thingsdb.live_connections) == ("//stuff", 1)
    assert (made.thingsdb.heartbeat.interval, made.thingsdb.heartbeat.timeout) == (5.0, 15.0)
    assert [(room.record_name, room.scope, room.required) for room in made.rooms] == [
        ("alerts", "//stuff", False)
    ]
    assert (made.routes, made.http, made.plugins.paths) == ((), None, ())
    assert made.spool.path == Path("/var/lib/tdbwatch/spool.db")
    assert (made.spool.max_size, made.spool.max_age, made.spool.when_full) == (2**30, 604800.0, "drop_oldest")
    assert (made.logging.level, made.logging.format, made.shutdown.grace) == ("info", "auto", 10.0)


def test_a_sink_has_the_documented_defaults():
    made = config(MINIMAL).sinks[0]
    assert (made.name, made.type, made.options) == ("console", "log", Options())
    assert (made.retry.initial, made.retry.factor, made.retry.max, made.retry.jitter) == (
        1.0,
        2.0,
        300.0,
        0.5,
    )
    assert (made.retry.max_attempts, made.retry.max_age) == (None, 345_600.0)
    assert (made.batch.count, made.batch.bytes, made.batch.wait) == (100, 1_000_000, 0.0)
    assert (made.timeout, made.max_in_flight, made.on_exhausted) == (30.0, 1, "dead_letter")
    assert made.order == "room"


@pytest.mark.parametrize(
    ("options", "count", "wait"),
    [
        ("type: many", 1000, 0.0),
        ("type: many, batch: {wait: 1s}", 1000, 1.0),
        ("type: many, batch: {count: 100}", 100, 0.0),
    ],
)
def test_a_type_of_sink_says_how_many_events_come_at_once_unless_the_configuration_does(
    options: str, count: int, wait: float
):
    batch = sink(options).batch
    assert (batch.count, batch.wait) == (count, wait)


def test_rooms_are_given_by_name_id_or_code():
    rooms = (
        "[alerts, {name: deploys, scope: '@collection:ops'}, {id: 0}, {id: 1, as: legacy}, {code: x, as: y}]"
    )
    made = config(with_(rooms=rooms)).rooms
    assert [room.record_name for room in made] == ["alerts", "deploys", "0", "legacy", "y"]
    assert [room.scope for room in made] == ["//stuff", "//ops", "//stuff", "//stuff", "//stuff"]


def test_arguments_are_named_for_all_events_or_by_event():
    text = "[a, {name: b, args: [x, y]}, {name: c, args: {login: [user], '*': [what]}}"
    text += ", {name: d, args: {e: [z]}}]"
    rooms = config(with_(rooms=text)).rooms
    assert [room.arg_names("login") for room in rooms] == [(), ("x", "y"), ("user",), ()]
    assert [room.arg_names("e") for room in rooms] == [(), ("x", "y"), ("what",), ("z",)]


def test_rooms_without_a_scope_have_the_scope_of_thingsdb():
    made = config(with_(thingsdb="{nodes: [a], auth: {token: t}, scope: '@:ops'}"))
    assert (made.thingsdb.scope, made.rooms[0].scope) == ("//ops", "//ops")


def test_two_collections_may_have_rooms_of_one_name():
    assert len(config(with_(rooms="[alerts, {name: alerts, scope: //ops}]")).rooms) == 2


@pytest.mark.parametrize(
    ("nodes", "connections", "live"),
    [("[a]", "auto", 1), ("[a, b]", "auto", 2), ("[a, b, c]", "auto", 2), ("[a]", "3", 3)],
)
def test_auto_keeps_two_connections_where_there_are_two_nodes(nodes: str, connections: str, live: int):
    text = f"{{nodes: {nodes}, auth: {{token: t}}, connections: {connections}}}"
    assert config(with_(thingsdb=text)).thingsdb.live_connections == live


def test_unlimited_is_said_in_words():
    made = sink("type: log, retry: {max_attempts: unlimited, max_age: unlimited}")
    assert (made.retry.max_attempts, made.retry.max_age) == (None, None)


def test_the_retry_section_makes_a_backoff_policy():
    policy = sink("type: log, retry: {initial: 2s, factor: 3, max: 1m, jitter: 0}").retry.policy
    assert [policy.ceiling(attempt) for attempt in range(5)] == [2.0, 6.0, 18.0, 54.0, 60.0]


def test_keys_that_are_not_the_daemons_are_the_sink_types_options():
    options = sink("type: hook, url: x, tags: [a, b], folder: sub").options
    assert options == HookOptions(url="x", tags=("a", "b"), folder=Path("sub"))


def test_a_key_that_both_know_is_given_to_both():
    made = sink("type: hook, url: x, timeout: 3s")
    assert made.timeout == 3.0
    assert isinstance(made.options, HookOptions)
    assert made.options.timeout == 3.0


def test_one_value_does_where_routes_take_lists():
    route = config(with_(routes="[{match: {room: a, kind: gap}, to: console}]")).routes[0]
    assert (route.match.room, route.match.kind, route.to) == (("a",), ("gap",), ("console",))


def test_relative_paths_start_at_the_folder_of_the_file():
    made = config(with_(spool="{path: here/spool.db}", plugins="{paths: [plugins.d, /opt/p]}"))
    assert made.spool.path == Path("/etc/tdbwatch/here/spool.db")
    assert made.plugins.paths == (Path("/etc/tdbwatch/plugins.d"), Path("/opt/p"))


def test_under_systemd_the_spool_is_in_the_state_directory():
    environ = {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}
    assert config(MINIMAL, environ).spool.path == Path("/var/lib/one/spool.db")
    assert config(with_(spool="{path: /x.db}"), environ).spool.path == Path("/x.db")


def test_a_section_with_nothing_in_it_counts_as_not_written():
    assert config(with_(http="", routes="", logging="")) == config(MINIMAL)


def test_plugins_are_known_before_the_rest_is_checked():
    document = parse(b"plugins: {paths: [p]}\nsinks: {s: {type: unheard-of}}\nrooms: 5", "/x/f.yaml", {})
    assert document.plugins().paths == (Path("/x/p"),)


def test_the_types_that_sinks_want_are_known_before_anybody_offers_them():
    document = parse(b"sinks: {a: {type: x}, b: {type: y}, c: 5, d: {type: [z]}, e: {}}", "/x/f.yaml", {})
    assert document.wanted_types() == {"x", "y"}
    assert parse(b"sinks: 5", "/x/f.yaml", {}).wanted_types() == frozenset()


def test_yaml_is_read_by_the_core_schema_of_version_1_2():
    made = config(with_(rooms="[{name: on, args: [no, on, 12:30, 1_000, 2026-01-01]}]"))
    assert made.rooms[0].name == "on"
    assert made.rooms[0].args == ("no", "on", "12:30", "1_000", "2026-01-01")


def test_variables_are_put_into_parsed_strings_only():
    made = config(with_(rooms="[{code: '${A}', as: odd}]"), {"A": "x, {id: 1}]\nsinks: {}"})
    assert [room.code for room in made.rooms] == ["x, {id: 1}]\nsinks: {}"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("<${A}-${B}>", "<one-two>"),
        ("${C:-three}", "three"),
        ("${EMPTY:-three}", "three"),
        ("${EMPTY}x", "x"),
        ("${A:-three}", "one"),
        ("${C:-}x", "x"),
        ("$${A}", "${A}"),
        ("$A $ {A} 5$", "$A $ {A} 5$"),
    ],
)
def test_references_to_the_environment(text: str, value: str):
    made = sink(f"type: hook, url: '{text}'", {"A": "one", "B": "two", "EMPTY": ""})
    assert made.options == HookOptions(url=value)


def test_what_a_variable_holds_is_not_looked_at_for_references():
    assert sink("type: hook, url: '${A}'", {"A": "${B}", "B": "x"}).options == HookOptions(url="${B}")


def test_a_variable_may_hold_a_number_where_one_is_wanted():
    made = sink('type: hook, url: "${N}", retries: "${N}", max_in_flight: "${N}"', {"N": "7"})
    assert made.options == HookOptions(url="7", retries=7)
    assert made.max_in_flight == 7


def test_secrets_are_read_from_files_without_the_last_newline(tmp_path: Path):
    (tmp_path / "pw").write_text("pass word\n\n")
    text = with_(thingsdb="{nodes: [a], auth: {username: u, password_file: pw}}")
    password = config(text, file=str(tmp_path / "c.yaml")).thingsdb.auth.password
    assert password is not None
    assert password.get_secret_value() == "pass word\n"


def test_the_mark_that_some_editors_begin_with_is_no_part_of_a_secret(tmp_path: Path):
    (tmp_path / "pw").write_bytes(b"\xef\xbb\xbfpass\r\n")
    text = with_(thingsdb="{nodes: [a], auth: {username: u, password_file: pw}}")
    password = config(text, file=str(tmp_path / "c.yaml")).thingsdb.auth.password
    assert password is not None
    assert password.get_secret_value() == "pass"


def test_secrets_are_read_from_systemd_credentials(tmp_path: Path):
    (tmp_path / "tok").write_text("t0ken")
    text = with_(thingsdb="{nodes: [a], auth: {token_credential: tok}}")
    token = config(text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).thingsdb.auth.token
    assert token is not None
    assert token.get_secret_value() == "t0ken"


def test_options_of_plugins_read_their_secrets_from_files_too(tmp_path: Path):
    (tmp_path / "s").write_text("hush\r\n")
    options = sink(f"type: hook, url: x, secret_file: '{tmp_path}/s'").options
    assert isinstance(options, HookOptions)
    assert options.secret is not None
    assert options.secret.get_secret_value() == "hush"


class ManyOptions(Options):
    headers: dict[str, Secret] = Field(default_factory=dict)
    keys: Secret | list[Secret] | None = None
    targets: list[HookOptions] = Field(default_factory=list)


MANY = {**TYPES, "hooks": SinkType("hooks", Idle, ManyOptions)}


def test_a_secret_in_a_mapping_or_a_list_is_read_from_where_it_says(tmp_path: Path):
    (tmp_path / "one").write_text("hush\n")
    (tmp_path / "two").write_text("quiet")
    text = with_(
        sinks="{s: {type: hooks, headers: {X-Api-Key: {file: one}, file: {credential: two}, X-Plain: said},"
        " keys: [{file: two}, 'written', {credential: one}],"
        " targets: [{url: x, secret_file: one}, {url: y, secret: {file: two}}]}}"
    )
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    options = parse(text.encode(), f"{tmp_path}/c.yaml", environ).config(MANY).sinks[0].options
    assert isinstance(options, ManyOptions)
    headers = {name: value.get_secret_value() for name, value in options.headers.items()}
    assert headers == {"X-Api-Key": "hush", "file": "quiet", "X-Plain": "said"}
    assert isinstance(options.keys, list)
    assert [key.get_secret_value() for key in options.keys] == ["quiet", "written", "hush"]
    secrets = [target.secret.get_secret_value() for target in options.targets if target.secret]
    assert secrets == ["hush", "quiet"]


def test_one_secret_is_read_from_where_a_mapping_says(tmp_path: Path):
    (tmp_path / "tok").write_text("t0ken")
    text = with_(
        thingsdb="{nodes: [a], auth: {token: {file: tok}}}",
        sinks="{s: {type: hooks, keys: {credential: tok}}}",
    )
    found = parse(text.encode(), f"{tmp_path}/c.yaml", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).config(MANY)
    assert found.thingsdb.auth.token is not None
    assert found.thingsdb.auth.token.get_secret_value() == "t0ken"
    options = found.sinks[0].options
    assert isinstance(options, ManyOptions)
    assert isinstance(options.keys, Secret)


def test_no_repr_shows_a_secret(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(with_(sinks="{s: {type: hook, url: x, secret: '${S}'}}"))
    document = read(tmp_path / "c.yaml", {"S": "hush-hush"})
    shown = repr(document) + str(document) + repr(document.config(TYPES))
    assert "t0ken" not in shown
    assert "hush" not in shown


def test_the_same_document_gives_the_same_configuration_again(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(MINIMAL)
    document = read(tmp_path / "c.yaml", {})
    assert document.config(TYPES) == document.config(TYPES) == load(tmp_path / "c.yaml", TYPES, {})


def test_a_byte_order_mark_is_not_in_the_way():
    assert parse(b"\xef\xbb\xbf" + MINIMAL.encode(), "f.yaml", {}).config(TYPES).rooms
