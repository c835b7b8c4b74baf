"""Routes, absences and expressions that are wrong are said with their place."""

import pytest

from .config_errors_kit import problem, with_


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


def test_a_mistake_in_a_block_of_text_is_placed_in_its_line():
    text = with_(routes="[]").replace(
        "routes: []", "routes:\n  - to: console\n    where: |\n      room == 'a'\n      && agrs[0]\n"
    )
    line = text.splitlines().index("      && agrs[0]") + 1
    assert f"prod.yaml:{line}:4: routes[0].where: there is no 'agrs' here" in problem(text)
