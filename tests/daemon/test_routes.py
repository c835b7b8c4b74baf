"""Routes decide which sinks get an event."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.routes import Router, Unrouted
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.plugin import Event, Kind

SINKS = ["a", "b", "c"]


def router(*routes: dict[str, Any]) -> Router:
    return Router.of_names([RouteConfig.model_validate(route) for route in routes], SINKS)


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


@settings(deadline=None)
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
