"""Which routes an entry of the log is asked about: those of its time, as far as they know the sink."""

from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.routing.current import Routing
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.plugin import Event


def router(*sinks: str, to: str = "a") -> Router:
    return Router.of_names([RouteConfig.model_validate({"to": [to]})], sinks)


def test_an_entry_is_asked_about_by_the_routes_of_its_time() -> None:
    first, second, third = router("a", "b"), router("a", "b", to="b"), router("a", "b")
    routing = Routing(first)
    routing.change(second, through=10)
    routing.change(third, through=20)
    assert [routing.at(seq, "a") for seq in (1, 10, 11, 20, 21)] == [first, first, second, second, third]
    assert routing.now is third
    routing.finished(10)
    assert routing.at(10, "a") is second, "the first one is not needed any more"
    routing.finished(20)
    assert routing.former == 0


def test_a_sink_that_was_not_there_is_asked_about_by_the_first_routes_that_know_it() -> None:
    """It goes on where it ended, as after a restart: what came while it was away is for it as well."""
    first, without, again = router("a", "b"), router("a"), router("a", "b")
    routing = Routing(first)
    routing.change(without, through=10)
    routing.change(again, through=20)
    assert [routing.at(seq, "b") for seq in (10, 11, 21)] == [first, again, again]
    assert routing.at(11, "a") is without


def test_a_sink_that_is_removed_is_asked_about_by_the_last_routes_that_knew_it_until_it_is_closed() -> None:
    """What was on the way to the disk then has its number later, and was heard before."""
    first, second, without = router("a", "b"), router("a", "b"), router("a")
    routing = Routing(first)
    routing.change(second, through=10)
    routing.change(without, through=20)
    routing.finished(20)
    assert (routing.at(21, "b"), routing.at(21, "a")) == (second, without)
    routing.change(again := router("a", "b"), through=30)
    assert routing.at(31, "b") is again
    routing.change(without, through=40)
    routing.gone("b")
    assert routing.at(41, "b") is without


def test_a_matcher_is_as_of_an_entry_or_of_now() -> None:
    routing = Routing(router("a", "b"))
    matcher = routing.matcher("a")
    event = Event.create()
    routing.change(router("a", "b", to="b"), through=10)
    assert not matcher(event)
    assert matcher.as_of(10)(event)
    assert not matcher.as_of(11)(event)


def test_counts_go_on_for_the_routes_that_are_the_same() -> None:
    def holding(to: str) -> Router:
        route = {"dedupe": {"window": "1m", "key": "event"}, "to": ["a"]}
        return Router.of_names([RouteConfig.model_validate(one) for one in (route, {"to": [to]})], ("a", "b"))

    routing = Routing(holding("a"))
    routing.now.counts.held["routes[0]"], routing.now.counts.matched["routes[1]"] = 3, 5
    routing.change(holding("b"), through=1)
    assert (routing.now.counts.held["routes[0]"], routing.now.counts.matched["routes[1]"]) == (3, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_every_entry_has_one_router_and_it_is_the_same_for_all_sinks_that_know_it(
    steps: list[tuple[int, bool]],
) -> None:
    routing, made, log = Routing(router("a", "b")), [], 0
    ranges: list[tuple[int, Router]] = []
    for grown, reloaded in steps:
        log += grown
        if reloaded:
            ranges += [(seq, routing.now) for seq in range(len(ranges) + 1, log + 1)]
            made.append(router("a", "b"))
            routing.change(made[-1], log)
    for seq, asked in ranges:
        assert routing.at(seq, "a") is routing.at(seq, "b") is asked
