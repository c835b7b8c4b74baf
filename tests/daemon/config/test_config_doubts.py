"""What a configuration says and hardly means is a warning: it has place and remedy, and nobody is stopped."""

import os
import re
from pathlib import Path

import pytest

from tdbwatch.daemon.config import Problem, parse
from tdbwatch.daemon.config.doubts.limits import UNIT_STOP_SECONDS
from tdbwatch.plugin import Options, Secret, SinkType
from tdbwatch.sinks.exec.options import ExecOptions
from tdbwatch.sinks.webhook.options import WebhookOptions

from .config_kit import Idle

ROOT = Path(__file__).parents[3]
GOOD = {
    "thingsdb": "{nodes: [node01], auth: {token: t0ken}}",
    "rooms": "[alerts, {name: deploys, scope: //ops}]",
    "sinks": "{console: {type: log}, mine: {type: log}}",
    "spool": "{path: spool.db, max_size: 1MiB}",
}


class Told(Options):
    target: str = ""
    key: Secret | None = None


TYPES = {
    "log": SinkType("log", Idle),
    "webhook": SinkType("webhook", Idle, WebhookOptions),
    "exec": SinkType("exec", Idle, ExecOptions),
    "told": SinkType("told", Idle, Told),
    "hook": SinkType("hook", Idle, hears=frozenset({"event", "gap"})),
    "ear": SinkType("ear", Idle, hears=frozenset({"event"})),
}


def found(
    sections: dict[str, str], environ: dict[str, str] | None = None, hooks: tuple[str, ...] = ()
) -> tuple[Problem, ...]:
    text = "\n".join(f"{name}: {value}" for name, value in {**GOOD, **sections}.items())
    types = {name: found for name, found in TYPES.items() if not found.hears or name in hooks}
    warnings = parse(text.encode(), "prod.yaml", environ or {}).config(types).warnings
    assert all(warning.is_warning and warning.hint and warning.line for warning in warnings)
    return warnings


def warnings(hooks: tuple[str, ...] = (), **sections: str) -> list[str]:
    return [f"{warning.path}: {warning.message}" for warning in found(sections, hooks=hooks)]


def test_a_configuration_that_means_what_it_says_has_no_warnings():
    assert warnings() == []
    assert warnings(routes="[{to: [console]}, {match: {kind: [gap, room, node]}, to: mine}]") == []


ALL = "{to: [console, mine]}"
LAST = f"[{{match: {{kind: gap}}, to: mine}}, {ALL}]"


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (f"[{ALL}, {{match: {{room: alertz}}, to: mine}}]", "routes[1].match.room: no room that is watched"),
        (f"[{ALL}, {{match: {{room: [alerts, 'x*']}}, to: mine}}]", "routes[1].match.room[1]: no room that"),
        (
            f"[{ALL}, {{match: {{scope: //opps}}, to: mine}}]",
            "routes[1].match.scope: no room that is watched",
        ),
        (
            f"[{ALL}, {{match: {{room: alerts, scope: '@:ops'}}, to: mine}}]",
            "routes[1].match: this route matches nothing that there can be",
        ),
        (
            f"[{ALL}, {{match: {{kind: node, room: alerts}}, to: mine}}]",
            "routes[1].match: this route matches nothing that there can be",
        ),
        (
            "[{to: [console, mine], stop: true}, {match: {room: alerts}, to: mine}]",
            "routes[1]: this route is never asked",
        ),
        (
            "[{match: {room: 'a*'}, to: console, stop: true}, {match: {room: d*}, to: console, stop: true},"
            " {to: mine}]",
            "routes[2]: this route is never asked",
        ),
        (
            "[{match: {event: ['*']}, to: [console, mine], stop: true}, {match: {event: x}, to: mine}]",
            "routes[1]: this route is never asked",
        ),
        (
            "[{match: {event: [x, y]}, to: [console, mine], stop: true}, {match: {event: x}, to: mine},"
            f" {ALL}]",
            "routes[1]: this route is never asked",
        ),
        ("[{to: console}]", "sinks.mine: nothing reaches this sink"),
        (
            f"[{ALL}, {{to: mine, routes: [{{match: {{room: alertz}}, to: console}}]}}]",
            "routes[1].routes[0].match.room: no room that is watched",
        ),
        (
            f"[{ALL}, {{match: {{room: alerts}}, routes: [{{match: {{room: deploys}}, to: console}}]}}]",
            "routes[1].routes[0].match: this route matches nothing that there can be",
        ),
        (f"[{ALL}, {{default: true, to: mine}}]", "routes[1]: this route is never asked: what it matches is"),
        (
            "[{match: {room: alerts}, to: [console, mine]}]",
            "rooms[1]: no route takes the events of this room",
        ),
        (f"[{ALL}, {{match: {{event: 'a, b'}}, to: mine}}]", "routes[1].match.event: the comma is a part of"),
        (
            f"[{ALL}, {{match: {{room: 'alerts, deploys'}}, to: mine}}]",
            "routes[1].match.room: the comma is a",
        ),
        (f"[{ALL}, {{match: {{event: [x, 'a,b']}}, to: mine}}]", "routes[1].match.event[1]: the comma is"),
        (f"[{ALL}, {{match: {{event: '!x'}}, to: mine}}]", "routes[1].match.event: a ! at the beginning"),
    ],
)
def test_routes(routes: str, expected: str):
    said = warnings(routes=routes)
    assert [warning for warning in said if warning.startswith(expected)]
    assert len([warning for warning in said if not warning.startswith("sinks.")] or said) == 1
    assert all("sinks." in warning or warning.startswith(expected[:9]) for warning in said)


@pytest.mark.parametrize(
    "routes",
    [
        "[{match: {event: 'a[,]b'}, to: mine}, {to: console}]",
        "[{match: {event: x}, to: [mine], stop: true}, {to: console}]",
        "[{match: {event: x*}, to: [mine], stop: true}, {match: {event: y}, to: console}, {to: console}]",
        "[{match: {room: alerts}, to: [], stop: true}, {to: [mine, console]}]",
        "[{match: {room: [alerts, deploys]}, to: mine}, {match: {kind: node}, to: console}]",
        "[{match: {room: alerts}, to: mine}, {default: true, to: console}]",
        "[{match: {event: x}, routes: [{to: mine}]}, {default: true, to: console}]",
        "[{routes: [{match: {room: alerts}, to: mine}, {default: true, to: console}]}]",
        "[{where: 'size(args) > 0', to: mine, stop: true}, {to: console}]",
        "[{match: {scope: ['@collection:ops', /c/stuff]}, to: [mine, console]}]",
        "[{to: [mine], stop: true}, {match: {kind: gap}, to: console}]",
        "[]",
    ],
)
def test_routes_that_are_meant(routes: str):
    assert warnings(routes=routes) == []


@pytest.mark.parametrize(
    ("absence", "expected"),
    [
        ("{match: {room: alertz}, to: mine}", "absences[0].match.room: no room that is watched"),
        ("{match: {room: alerts, scope: //ops}, to: mine}", "absences[0].match: this absence waits for noth"),
        ("{match: {room: alerts}}", "absences[0]: nobody is told of this absence"),
        ("{match: {room: 'a, b'}, to: mine}", "absences[0].match.room: the comma is a part of"),
    ],
)
def test_absences(absence: str, expected: str):
    absences = f"[{absence.replace('{', '{name: beat, after: 1m, ', 1)}]"
    for routes in ("[]", f"[{ALL}]"):
        (said,) = warnings(routes=routes, absences=absences)
        assert said.startswith(expected)


def test_absences_that_are_meant_and_what_they_reach():
    absence = "{name: beat, match: {room: alerts}, after: 1m"
    assert warnings(routes="[{to: console}]", absences=f"[{absence}, to: mine}}]") == []
    assert (
        warnings(routes=f"[{ALL}, {{match: {{kind: absence}}, to: mine}}]", absences=f"[{absence}}}]") == []
    )


def test_a_room_that_an_absence_waits_for_needs_no_route():
    routes = "[{match: {room: deploys, scope: //ops}, to: [console, mine]}]"
    absence = "{name: beat, match: {room: alerts}, after: 1m, to: mine}"
    assert warnings(routes=routes) == ["rooms[0]: no route takes the events of this room"]
    assert warnings(routes=routes, absences=f"[{absence}]") == []


@pytest.mark.parametrize(
    ("routes", "place", "said"),
    [
        (
            "{set: {n: size(args)}, where: fields.n > 1, to: mine}",
            "routes[1].where",
            "fields.n is not there yet",
        ),
        (
            "{set: {n: '1'}, where: \"fields['n'] == '1'\", to: mine}",
            "routes[1].where",
            "fields.n is not there yet",
        ),
        ("{set: {n: '1'}, match: {fields: {n: x}}, to: mine}", "routes[1].match.fields.n", "fields.n is not"),
        ("{set: {a: fields.b, b: '1'}, to: mine}", "routes[1].set.a", "fields.b is not there yet"),
        (
            "{set: {team: '1'}}, {where: fields.taem == 1, to: mine}",
            "routes[2].where",
            "fields.taem is never",
        ),
        (
            "{dedupe: {window: 1m, key: fields.k}, to: mine}",
            "routes[1].dedupe.key",
            "fields.k is never there",
        ),
        (
            "{routes: [{where: fields.k == 1, to: mine}]}",
            "routes[1].routes[0].where",
            "fields.k is never there",
        ),
    ],
)
def test_a_field_that_no_route_has_set_by_then(routes: str, place: str, said: str):
    (warning,) = warnings(routes=f"[{ALL}, {routes}]")
    assert warning.startswith(f"{place}: {said}")


@pytest.mark.parametrize(
    "routes",
    [
        "{set: {n: size(args)}}, {where: fields.n > 1, match: {fields: {n: '*'}}, to: mine}",
        "{set: {a: '1', b: fields.a}, throttle: {count: 1, per: 1m, key: fields.b}, to: mine}",
        "{set: {n: '1'}, routes: [{where: fields.n > 1, to: mine}]}",
        "{group: {wait: 9s}, set: {n: '1'}, to: mine},{match: {kind: group}, where: has(fields.n), to: mine}",
        "{where: \"data.fields.n == 'fields.n'\", to: mine}",
        '{where: "args.exists(a, a == fields.n)", to: mine}',
    ],
)
def test_a_field_that_may_be_there(routes: str):
    assert warnings(routes=f"[{ALL}, {routes}]") == []


def test_an_absence_sees_no_fields_and_a_name_from_the_environment_is_not_told():
    absence = "[{name: beat, match: {room: alerts}, after: 1m, where: fields.n == 1, to: mine}]"
    (said,) = warnings(routes=f"[{{set: {{n: '1'}}}}, {ALL}]", absences=absence)
    assert said == "absences[0].where: fields.n is never there: an absence sees nothing that routes set"
    routes = f'[{ALL}, {{where: "fields.${{NAME}} == 1", to: mine}}]'
    assert found({"routes": routes}, {"NAME": "hunter2"}) == ()


def test_a_field_that_is_nearly_named_is_suggested():
    (warning,) = found({"routes": f"[{{set: {{team: '1'}}}}, {ALL}, {{where: fields.taem == 1, to: mine}}]"})
    assert warning.hint == "did you mean team? routes set: team"


@pytest.mark.parametrize("many", [4, 500])
def test_what_is_so_of_many_rooms_or_sinks_is_said_once(many: int):
    rooms = ", ".join(["alerts", "deploys", '"${ROOM}"', *(f"r{number}" for number in range(many))])
    sinks = ", ".join(f"s{number}: {{type: log}}" for number in range(many + 1))
    sections = {
        "rooms": f"[{rooms}]",
        "sinks": f"{{{sinks}}}",
        "routes": "[{match: {room: alerts}, to: s0}]",
    }
    room, sink = found(sections, {"ROOM": "hunter2"})
    assert (sink.path, room.path) == ("sinks.s1", "rooms[1]")
    assert (
        sink.message == f"nothing reaches {many} sinks (s1, s2, s3 and {many - 3} more): no route leads there"
    )
    names = f"deploys, rooms[2], r0 and {many - 1} more"
    assert room.message == f"no route takes the events of {many + 2} rooms ({names})"


def test_records_that_a_plugin_has_no_hook_for():
    absence = "{name: beat, match: {room: alerts}, after: 1m, to: [ear, mine]}"
    (said,) = warnings(hooks=("ear",), routes=f"[{ALL}, {{to: ear}}]", absences=f"[{absence}]")
    assert said == "absences[0].to: a plugin has no hook for records of kind absence, and gets none"
    (said,) = warnings(hooks=("ear",), routes=f"[{ALL}, {{to: ear}}, {{group: {{wait: 1m}}, to: ear}}]")
    assert said == "routes[2].to: a plugin has no hook for records of kind group, and gets none"


def test_records_that_nothing_makes_are_not_there():
    made_by = {"group": "a route with `group`", "absence": "`absences`"}
    for kind, maker in made_by.items():
        (warning,) = found({"routes": f"[{ALL}, {{match: {{kind: {kind}}}, to: mine}}]"})
        assert warning.message == "this route matches nothing that there can be"
        assert warning.hint == f"see its kind, room and scope together; kind: {kind} comes of {maker} only"
    grouped = "{group: {wait: 1m}, to: mine}"
    assert warnings(routes=f"[{ALL}, {grouped}, {{match: {{kind: group}}, to: console}}]") == []


def test_a_room_that_is_nearly_named_is_suggested():
    [warning] = found({"routes": f"[{ALL}, {{match: {{room: alertz}}, to: mine}}]"})
    assert warning.hint == "did you mean alerts? the rooms are: alerts, deploys"


def test_a_room_or_a_glob_from_the_environment_is_not_shown():
    routes = f'[{ALL}, {{match: {{room: "${{OTHER}}"}}, to: mine}}]'
    sections = {"rooms": '["${ROOM}", alerts]', "routes": routes}
    [warning] = found(sections, {"ROOM": "hunter2", "OTHER": "hunter3"})
    assert "hunter" not in str(warning)
    assert warning.hint == "the rooms are: alerts"


def test_a_plugin_that_hears_events_needs_a_route_and_one_that_hears_gaps_does_not():
    routes = f"[{ALL}]"
    assert warnings(hooks=("hook",), routes=routes) == []
    assert warnings(hooks=("ear",), routes=routes) == [
        "sinks.ear: nothing reaches this sink: no route leads there"
    ]
    assert warnings(hooks=("ear",)) == []


@pytest.mark.parametrize(
    ("rooms", "expected"),
    [
        ("[alerts, {name: alerts, as: other}]", "rooms[1]: this room is watched already (line 2)"),
        ("[{id: 5}, {id: 5, as: other}]", "rooms[1]: this room is watched already"),
        ("[{code: x(), as: a}, {code: ' x()', as: b}]", "rooms[1]: this room is watched already"),
        ("[alerts, {name: alerts, scope: //ops}]", ""),
        ("[{id: 5}, {name: a, as: '6'}]", ""),
        ("[alerts, canary]", "rooms[1]: the canary emits into this room"),
        ("[alerts, {name: canary, scope: //ops}]", ""),
    ],
)
def test_rooms(rooms: str, expected: str):
    canary = "{nodes: [node01], auth: {token: t}, canary: {room: canary}}"
    said = warnings(thingsdb=canary, rooms=rooms)
    assert [warning.startswith(expected) for warning in said] == ([True] if expected else [])


@pytest.mark.parametrize(
    ("section", "text", "expected"),
    [
        (
            "thingsdb",
            "{nodes: [a, b], auth: {token: t}, connections: 3}",
            "thingsdb.connections: more connections than nodes: there are 2 nodes",
        ),
        (
            "thingsdb",
            "{nodes: [a], auth: {token: t}, connections: 2}",
            "more connections than nodes: there is 1",
        ),
        ("thingsdb", "{nodes: [a], auth: {token: t}}", ""),
        (
            "sinks",
            "{s: {type: log, retry: {max_age: 8d}}}",
            "sinks.s.retry.max_age: it is never reached: the spool",
        ),
        (
            "sinks",
            "{s: {type: log, retry: {max_age: unlimited}}}",
            "sinks.s.retry.max_age: it is never reached",
        ),
        ("sinks", "{s: {type: log, retry: {max_age: 7d}}}", ""),
        (
            "shutdown",
            "{grace: 30s}",
            "shutdown.grace: the systemd unit that comes with tdbwatch kills it after 30 s",
        ),
        ("shutdown", "{grace: 29s}", ""),
        ("spool", "{path: spool.db, max_size: 1000TB}", "spool.max_size: the disk has space for "),
        (
            "spool",
            "{path: nowhere/yet/spool.db, max_size: 1000TB}",
            "spool.max_size: the disk has space for ",
        ),
    ],
)
def test_limits(section: str, text: str, expected: str):
    said = warnings(**{section: text})
    assert [expected in warning for warning in said] == ([True] if expected else [])


def test_the_units_patience_is_the_one_in_the_unit():
    unit = (ROOT / "systemd" / "tdbwatch.service").read_text()
    assert re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE) == [f"{UNIT_STOP_SECONDS:.0f}"]


def test_what_the_spool_holds_already_counts_as_space_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Disk:
        f_bavail, f_frsize = 1, 1 << 20

    monkeypatch.setattr(os, "statvfs", lambda _: Disk)
    spool = f"{{path: {tmp_path}/spool.db, max_size: 2MiB}}"
    assert warnings(spool=spool) == [
        "spool.max_size: the disk has space for 1 MiB only, less than the spool may take"
    ]
    (tmp_path / "spool.db").write_bytes(bytes(1 << 20))
    assert warnings(spool=spool) == []


@pytest.mark.parametrize(
    ("section", "text", "expected"),
    [
        (
            "thingsdb",
            "{nodes: [node01.example.org], auth: {token: t}}",
            "thingsdb.nodes[0]: the token goes to this node unencrypted",
        ),
        (
            "thingsdb",
            "{nodes: [a, 'ws://8.8.8.8'], auth: {username: u, password: p}}",
            "thingsdb.nodes[1]: the password goes to this node unencrypted",
        ),
        ("thingsdb", "{nodes: ['wss://node01.example.org'], auth: {token: t}}", ""),
        ("thingsdb", "{nodes: ['unix:///run/x', a, a.local, 10.0.0.1, '[::1]:9200'], auth: {token: t}}", ""),
        (
            "thingsdb",
            "{nodes: ['wss://a'], auth: {token: t}, tls: {verify: false}}",
            "thingsdb.tls.verify: anybody on the way can pretend",
        ),
        ("http", "{listen: '0.0.0.0:9280'}", "http.listen: whoever reaches this address can read"),
        ("http", "{listen: '[::]:9280'}", "http.listen: whoever reaches this address can read"),
        ("http", "{listen: '0.0.0.0:9280', token: 0123456789abcdef}", ""),
        ("http", "{listen: '[::1]:9280', token: 0123456789abcde}", "http.token: a token of less than 16"),
        ("http", "{listen: 'localhost:9280'}", ""),
        ("http", "{listen: '[::1]:9280'}", ""),
    ],
)
def test_exposure(section: str, text: str, expected: str):
    said = warnings(**{section: text})
    assert [warning.startswith(expected) for warning in said] == ([True] if expected else [])


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ("url: 'http://u:p@example.org/'", "url"),
        ("url: 'http://10.0.0.1/', auth: {bearer: t}", "url"),
        ("url: 'http://a/', headers: {X-Api-Key: t}", "url"),
        ("url: 'https://a/', proxy: 'http://u:p@proxy:3128'", "proxy"),
        ("url: 'https://a/', tls: {verify: false}", "tls.verify"),
        ("url: 'http://a/'", ""),
        ("url: 'http://a/', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ""),
        ("url: 'http://a/', headers: {X-Site: t}", ""),
        ("url: 'http://localhost:8080/', auth: {bearer: t}", ""),
        ("url: 'http://127.1.2.3/', auth: {bearer: t}", ""),
        ("url: 'https://a/', auth: {bearer: t}", ""),
    ],
)
def test_exposure_of_a_webhooks_secrets(options: str, key: str):
    said = warnings(sinks=f"{{s: {{type: webhook, {options}}}}}")
    assert [warning.partition(": ")[0] for warning in said] == ([f"sinks.s.{key}"] if key else [])


def test_a_sink_of_a_plugin_is_held_to_the_same():
    for scheme in ("http", "redis", "nats"):
        told = f"{{s: {{type: told, target: '{scheme}://a/', key: t}}}}"
        assert warnings(sinks=told) == [
            "sinks.s.target: a token or password goes to another host unencrypted"
        ]
    assert warnings(sinks="{s: {type: told, target: 'rediss://a/', key: t}}") == []


@pytest.mark.parametrize("token", ["$TOKEN", "$(TOKEN)", "%TOKEN%"])
def test_what_others_take_for_a_variable_is_told_and_not_shown(token: str):
    [warning] = found({"thingsdb": f"{{nodes: [node01], auth: {{token: '{token}'}}}}"})
    assert warning.path == "thingsdb.auth.token"
    assert warning.message == "this is taken as it is, and no variable"
    assert "TOKEN" not in str(warning)


def test_what_comes_from_elsewhere_may_look_like_a_variable(tmp_path: Path):
    (tmp_path / "token").write_text("$TOKEN")
    assert not found({"thingsdb": f"{{nodes: [node01], auth: {{token_file: {tmp_path}/token}}}}"})
    environ = {"T": "$TOKEN"}
    assert not found({"thingsdb": "{nodes: [node01], auth: {token: '${T}'}}"}, environ)
    assert not found({"thingsdb": "{nodes: [node01], auth: {token: 'a$TOKEN'}}"})


PROGRAM = "sinks.mine.command[0]: there is no such program"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("command: [sh, -c, x]", []),
        ("command: [/bin/sh]", []),
        ("command: [./run], cwd: {0}", []),
        ("command: [no-such-program]", [PROGRAM]),
        ("command: [sh], env: {{PATH: /nowhere}}", [PROGRAM]),
        ("command: [/bin/no-such-program]", [PROGRAM]),
        ("command: [./run]", [PROGRAM]),
        ("command: [./text], cwd: {0}", [PROGRAM]),
        ("command: [/bin]", [PROGRAM]),
        ("command: [sh], cwd: {0}/gone", ["sinks.mine.cwd: there is no such folder"]),
        ("command: [sh], cwd: {0}/text", ["sinks.mine.cwd: there is no such folder"]),
    ],
)
def test_a_program_that_is_not_there_is_told(tmp_path: Path, options: str, told: list[str]) -> None:
    for name, mode in (("run", 0o755), ("text", 0o644)):
        (tmp_path / name).touch(mode)
    sinks = f"{{console: {{type: log}}, mine: {{type: exec, {options.format(tmp_path)}}}}}"
    assert warnings(sinks=sinks) == told
