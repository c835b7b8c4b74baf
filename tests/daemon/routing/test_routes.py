"""Routes decide which sinks get an event."""

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.routing.unrouted import Unrouted
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.plugin import Event, Kind

SINKS = ["a", "b", "c"]


def router(*routes: dict[str, Any]) -> Router:
    return Router.of_names([RouteConfig.model_validate_json(json.dumps(route)) for route in routes], SINKS)


def event(room: str = "alerts", name: str = "disk-full", **more: Any) -> Event:
    return Event.create(room, name, **more)


@pytest.mark.parametrize(("kind", "sinks"), [("event", "abc"), ("gap", "abc"), ("room", ""), ("node", "")])
def test_without_routes_every_sink_gets_events_and_gaps(kind: str, sinks: str):
    assert router().sinks_for(event(kind=kind)) == set(sinks)
    assert [name for name in SINKS if router().matcher(name)(event(kind=kind))] == list(sinks)


def test_a_route_without_match_takes_events_only():
    asked = router({"to": "a"})
    assert asked.sinks_for(event()) == {"a"}
    assert asked.sinks_for(event(kind="gap")) == set()


@pytest.mark.parametrize("kind", ["event", "gap", "room", "node"])
def test_a_route_takes_the_kinds_it_names(kind: str):
    assert router({"match": {"kind": [kind]}, "to": "a"}).sinks_for(event(kind=kind)) == {"a"}
    others = {"event", "gap", "room", "node"} - {kind}
    assert all(
        not router({"match": {"kind": kind}, "to": "a"}).sinks_for(event(kind=other)) for other in others
    )


def test_all_routes_that_match_add_their_sinks():
    asked = router(
        {"to": "a"}, {"match": {"room": "alerts"}, "to": ["b"]}, {"match": {"room": "x"}, "to": "c"}
    )
    assert asked.sinks_for(event()) == {"a", "b"}


def test_after_a_route_with_stop_no_other_is_asked():
    asked = router({"match": {"room": "alerts"}, "to": "a", "stop": True}, {"to": "b"})
    assert asked.sinks_for(event()) == {"a"}
    assert asked.sinks_for(event("deploys")) == {"b"}


def test_a_route_to_nobody_with_stop_drops_what_it_matches():
    asked = router({"match": {"event": "noise-*"}, "to": (), "stop": True}, {"to": "a"})
    assert asked.sinks_for(event(name="noise-1")) == set()
    assert asked.sinks_for(event()) == {"a"}


def test_every_key_of_a_match_must_hold():
    asked = router({"match": {"room": "alerts", "event": "disk-*", "scope": "//stuff"}, "to": "a"})
    assert asked.sinks_for(event()) == {"a"}
    assert not asked.sinks_for(event("deploys"))
    assert not asked.sinks_for(event(name="cpu"))
    assert not asked.sinks_for(event(scope="//ops"))


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("disk-*", "disk-full", True),
        ("disk-*", "disk", False),
        ("*full", "disk-full\nor-not-full", True),
        ("disk", "disk\n", False),
        ("d?sk", "disk", True),
        ("[cd]isk", "disk", True),
        ("[!d]isk", "disk", False),
        ("Disk", "disk", False),
        ("a.c", "abc", False),
        ("[[]x]", "[x]", True),
        ("*", "", True),
        (["x", "disk*"], "disk-full", True),
        ("x|disk", "disk", False),
    ],
)
def test_globs(glob: str | list[str], name: str, matches: bool):
    assert bool(router({"match": {"event": glob}, "to": "a"}).sinks_for(event(name=name))) is matches


@pytest.mark.parametrize(
    "scope", ["//stuff", "@:stuff", "@collection:stuff", "/collection/stuff", "/c/stuff"]
)
@pytest.mark.parametrize("glob", ["//stuff", "@:st*", "@collection:stuff", "/collection/st?ff", "//*", "*"])
def test_every_spelling_of_a_scope_matches_every_other(scope: str, glob: str):
    asked = router({"match": {"scope": glob}, "to": "a"})
    assert asked.sinks_for(event(scope=scope)) == {"a"}
    assert router({"match": {"scope": "//other"}, "to": "a"}).sinks_for(event(scope=scope)) == set()


def test_a_matcher_of_a_sink_that_is_not_there_takes_nothing():
    assert not router().matcher("x")(event())
    assert not router({"to": "a"}).matcher("x")(event())


def test_a_glob_that_could_take_for_ever_does_not():
    asked = router({"match": {"event": "*a" * 100 + "b"}, "to": "a"})
    assert asked.sinks_for(event(name="a" * 5_000)) == set()


def test_the_memory_of_answers_is_bounded():
    asked = router({"match": {"event": "*7"}, "to": "a"})
    for number in range(10_000):
        assert bool(asked.sinks_for(event(name=str(number)))) is (number % 10 == 7)
    assert asked.remembered <= 4096


names = st.sampled_from(["alerts", "deploys", "disk-full", "disk", "a[b", "", "ALERTS", "x*"])
globs = st.sampled_from(["*", "a*", "*s", "disk-*", "?*", "[ad]*", "[!a]*", "alerts", "x[*]"])
scopes = st.sampled_from(["//stuff", "//ops", "//s", ""])
kinds = st.sampled_from(["event", "gap", "room", "node"])
matches = st.fixed_dictionaries(
    {},
    optional={
        "room": st.lists(globs, min_size=1, max_size=3),
        "event": st.lists(globs, min_size=1, max_size=3),
        "scope": st.lists(st.sampled_from(["//stuff", "//s*", "*", "//o?s"]), min_size=1, max_size=2),
        "kind": st.lists(kinds, min_size=1, max_size=3),
    },
)
routes = st.fixed_dictionaries(
    {"to": st.lists(st.sampled_from(SINKS), unique=True, min_size=1)},
    optional={"match": matches, "stop": st.booleans()},
)


def oracle(given_routes: list[dict[str, Any]], asked: Event) -> set[str]:
    """What the documentation says, written as plainly as can be."""
    if not given_routes:
        return set(SINKS) if asked.kind in ("event", "gap") else set()
    found: set[str] = set()
    for route in given_routes:
        match = route.get("match", {})
        values = {"room": asked.room, "event": asked.event, "scope": asked.scope}
        if asked.kind in match.get("kind", ["event"]) and all(
            any(fnmatchcase(value, glob) for glob in match[key])
            for key, value in values.items()
            if key in match
        ):
            found.update(route["to"])
            if route.get("stop"):
                return found
    return found


@given(st.lists(routes, max_size=5), st.lists(st.tuples(names, names, scopes, kinds), max_size=10))
def test_routes_do_what_the_documentation_says(
    given_routes: list[dict[str, Any]], asked: list[tuple[str, str, str, str]]
):
    made = router(*given_routes)
    matchers = {name: made.matcher(name) for name in SINKS}
    for room, name, scope, kind in asked:
        heard = event(room, name, scope=scope, kind=kind)
        expected = oracle(given_routes, heard)
        assert made.sinks_for(heard) == expected
        assert {sink for sink, takes in matchers.items() if takes(heard)} == expected


@pytest.mark.parametrize("routes", [[], [{"to": ["log"]}]])
def test_hooks_hear_all_of_their_kind_of_what_tdbwatch_says_itself(routes: list[dict[str, Any]]):
    sinks = {"log": frozenset[str](), "hooks": frozenset({"gap", "node"})}
    asked = Router([RouteConfig.model_validate(route) for route in routes], sinks)
    heard = {kind for kind in Kind if "hooks" in asked.sinks_for(event(kind=kind))}
    assert heard == {"gap", "node"}


def test_events_come_to_hooks_as_routes_say():
    sinks = {"log": frozenset[str](), "hooks": frozenset({"event", "gap"})}
    assert Router([], sinks).sinks_for(event()) == {"log", "hooks"}
    routed = [RouteConfig.model_validate({"to": ["log"]})]
    assert Router(routed, sinks).sinks_for(event()) == {"log"}


def test_what_no_route_takes_is_counted_by_room():
    asked = router({"match": {"event": "disk-*"}, "to": "a"}, {"match": {"room": "ops"}, "to": "b"})
    counted = Unrouted(asked)
    counted.count(
        heard([event(), event(name="cpu"), event("ops", "x"), event("deploys", "x"), event(name="cpu")])
    )
    counted.count(heard([event("deploys", kind="gap"), event("deploys", "disk-full")]))
    assert counted.rooms == {Lane("//stuff", "alerts"): 2, Lane("//stuff", "deploys"): 1}
    assert counted.total == 3


def test_what_a_route_drops_is_not_unrouted_and_without_routes_nothing_is():
    assert router({"to": [], "stop": True}).unrouted(Lane("//stuff", "alerts"), ["x"]) == 0
    assert router().unrouted(Lane("//stuff", "alerts"), ["x"]) == 0
    assert router({"match": {"scope": "//ops"}, "to": "a"}).unrouted(Lane("//stuff", "alerts"), ["x"]) == 1


@given(st.lists(st.sampled_from("xyz")), st.sets(st.sampled_from("xyz"), min_size=1))
def test_an_event_is_unrouted_exactly_if_no_route_takes_it(names: list[str], taken: set[str]):
    asked = router({"match": {"event": sorted(taken)}, "to": "a"})
    lane = Lane("//stuff", "alerts")
    assert asked.unrouted(lane, names) == sum(name not in taken for name in names)
    assert all(asked.takes("event", *lane, name) == (name in taken) for name in names)


def asked(event: Event, *routes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sinks that get an event, with its fields there."""
    return {name: dict(fields) for name, fields in router(*routes).decide(event).items()}


DISK = event(args=[{"severity": 5, "host": "db1"}])


@pytest.mark.parametrize(
    ("where", "taken"),
    [
        ("args[0].severity >= 5", True),
        ("args[0].severity > 5", False),
        ("room == 'alerts' && event.startsWith('disk')", True),
        ("args[0].nothing == 1", False),
    ],
)
def test_a_route_takes_what_its_condition_holds_for(where: str, taken: bool):
    assert bool(asked(DISK, {"to": "a", "where": where})) is taken
    assert bool(asked(DISK, {"to": "a", "where": where, "match": {"event": "x*"}})) is False


def test_an_event_that_a_condition_fails_for_is_taken_where_the_route_says_so_and_counted():
    found = router(
        {"to": "a"},
        {"to": "b", "where": "args[0].x == 1", "on_error": "match"},
        {"to": "c", "where": "args[7]"},
    )
    assert found.sinks_for(DISK) == {"a", "b"}
    assert {path: failure.count for path, failure in found.counts.failures.items()} == {
        "routes[1]": 1,
        "routes[2]": 1,
    }
    assert found.counts.failures["routes[1]"].reason == 'where: Key not found in map : "x"'
    assert found.counts.failures["routes[1]"].event_id == DISK.id


def test_fields_add_up_and_a_sink_gets_those_up_to_the_first_route_that_names_it():
    routes = [
        {"to": "a", "set": {"host": "args[0].host"}},
        {"to": [], "set": {"title": "'Disk of ' + fields.host", "n": "size(args)"}},
        {"to": ["a", "b"], "where": "fields.n == 1"},
    ]
    assert asked(DISK, *routes) == {
        "a": {"host": "db1"},
        "b": {"host": "db1", "title": "Disk of db1", "n": 1},
    }


def test_a_field_is_known_to_those_after_it_but_not_to_the_condition_of_its_own_route():
    following = {"to": "a", "set": {"team": "'dba'", "mail": "fields.team + '@example.org'"}}
    assert asked(DISK, following) == {"a": {"team": "dba", "mail": "dba@example.org"}}
    assert asked(DISK, {**following, "where": "fields.team == 'dba'"}) == {}


def test_fields_are_matched_by_globs_as_text():
    first = {"to": [], "set": {"level": "args[0].severity", "team": "'dba'", "ok": "true"}}
    for fields, taken in [
        ({"level": "5"}, True),
        ({"level": "[0-4]"}, False),
        ({"team": ["x", "db?"], "ok": "true"}, True),
        ({"nobody": "*"}, False),
    ]:
        assert bool(asked(DISK, first, {"to": "a", "match": {"fields": fields}})) is taken


def test_a_field_that_has_no_value_is_left_out_and_counted():
    found = router({"to": "a", "set": {"x": "args[0].x", "y": "1"}})
    assert found.decide(DISK) == {"a": {"y": 1}}
    assert found.counts.failures["routes[0]"].reason.startswith("set.x: Key not found")


def test_a_condition_that_does_not_hold_stops_nothing():
    routes = [
        {"to": "a", "where": "false", "stop": True},
        {"to": "b", "where": "true", "stop": True},
        {"to": "c"},
    ]
    assert set(asked(DISK, *routes)) == {"b"}
    assert list(router(*routes).explain(DISK)[1]) == ["routes[1]"]


def test_a_matcher_knows_by_name_what_does_not_depend_on_the_event():
    found = router(
        {"to": "a"}, {"to": "b", "where": "args[0].severity > 1"}, {"to": "c", "match": {"event": "x"}}
    )
    key = ("event", "//stuff", "alerts", "disk-full")
    assert found.matcher("a").by_name(*key) is None, "routes with conditions may come with fields"
    assert found.matcher("b").by_name(*key) is None
    assert found.matcher("c").by_name(*key) is False
    assert found.matcher("b").with_fields(DISK) == DISK


def test_what_a_sink_gets_has_its_fields_in_the_record():
    found = router({"to": "a", "set": {"host": "args[0].host", "when": "time"}})
    heard = found.matcher("a").with_fields(DISK)
    assert heard is not None
    assert heard.record()["fields"] == {"host": "db1", "when": DISK.record()["time"]}
    assert heard.fields == heard.record()["fields"]
    assert {key: value for key, value in heard.record().items() if key != "fields"} == DISK.record()
    assert heard != DISK
    assert json.loads(heard.json()) == heard.record()


@given(
    st.lists(
        st.tuples(st.sampled_from(["true", "false", "args[0].n > 1", "args[9]"]), st.booleans()), max_size=5
    )
)
def test_routes_with_conditions_are_asked_like_those_without(routes: list[tuple[str, bool]]):
    """The oracle: in order, up to the first that holds and stops."""
    heard = event(args=[{"n": 2}])
    holds = {"true": True, "false": False, "args[0].n > 1": True, "args[9]": False}
    expected: set[str] = set()
    for number, (where, stop) in enumerate(routes):
        if holds[where]:
            expected.add(SINKS[number % 3])
            if stop:
                break
    made = [{"to": SINKS[n % 3], "where": where, "stop": stop} for n, (where, stop) in enumerate(routes)]
    assert (set(asked(heard, *made)) if made else expected) == expected


def test_routes_within_a_route_are_asked_about_what_it_matched():
    within = [{"match": {"event": "disk-*"}, "to": "b"}, {"to": "c", "where": "fields.n == 1"}]
    outer = {"match": {"room": "alerts"}, "to": "a", "set": {"n": "size(args)"}, "routes": within}
    assert asked(DISK, outer) == {"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1}}
    assert asked(event(room="deploys"), outer) == {}
    assert list(router(outer).explain(DISK)[1]) == ["routes[0]", "routes[0].routes[0]", "routes[0].routes[1]"]


def test_stop_within_ends_the_outer_routes_too():
    outer = {"routes": [{"match": {"event": "disk-*"}, "to": "a", "stop": True}, {"to": "b"}]}
    assert set(asked(DISK, outer, {"to": "c"})) == {"a"}
    assert set(asked(event(name="cpu"), outer, {"to": "c"})) == {"b", "c"}


@pytest.mark.parametrize("where", [{}, {"where": "true"}])
def test_a_default_route_takes_what_no_route_before_it_in_its_list_took(where: dict[str, Any]):
    rest = {"default": True, "to": "c"}
    disks = {"match": {"event": "disk-*"}, "to": "a", **where}
    assert set(asked(DISK, disks, rest)) == {"a"}
    assert set(asked(event(name="cpu"), disks, rest)) == {"c"}
    assert set(asked(DISK, {"set": {"x": "1"}, "match": {"event": "*"}}, rest)) == {"c"}, (
        "to set takes nothing"
    )
    assert set(asked(DISK, {"match": {"event": "disk-*"}, "routes": [disks]}, rest)) == {"a"}
    assert set(asked(DISK, {"routes": [{"match": {"event": "x"}, "to": "b"}, rest]})) == {"c"}


def test_what_only_sets_fields_takes_nothing():
    lane = Lane("//stuff", "alerts")
    assert router({"set": {"x": "1"}}).unrouted(lane, ["x", "y"]) == 2
    assert router({"routes": [{"match": {"event": "x"}, "to": "a"}]}).unrouted(lane, ["x", "y"]) == 1
