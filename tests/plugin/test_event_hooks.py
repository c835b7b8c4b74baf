"""A plugin with an event hook is a sink, with all that sinks have."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tdbwatch.daemon.config import Config, ConfigError, parse
from tdbwatch.daemon.plugins import Registry, load_plugins
from tdbwatch.daemon.plugins.absent import stand_in
from tdbwatch.daemon.plugins.hearing import sinks_by_hooks
from tdbwatch.plugin import DELIVERED, Rejected, Retry
from tdbwatch.testing import deliver, make_event

HEAD = "from tdbwatch.plugin import *\nheard = []\n"
ONE = "@hookimpl\ndef tdbwatch_event(event):\n    heard.append(event.event)\n"
BATCH = "@hookimpl\ndef tdbwatch_events(batch):\n    heard.append([event.event for event in batch])\n"
CONFIG = """
thingsdb: {nodes: [localhost], auth: {token: t}}
rooms: [alerts]
"""

Load = Callable[..., Registry]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load one plugin, `mine`, that has this code."""
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)

    def load(code: str) -> Registry:
        (folder / "mine.py").write_text(HEAD + dedent(code))
        return load_plugins([folder])

    yield load
    sys.modules.pop("tdbwatch_plugin_mine", None)


def heard() -> list[Any]:
    found: list[Any] = sys.modules["tdbwatch_plugin_mine"].heard  # type: ignore[attr-defined]
    return found


def configured(registry: Registry, more: str = "") -> Config:
    return parse((CONFIG + more).encode(), "prod.yaml", {}).config(registry.sink_types)


def complaint(registry: Registry, more: str) -> str:
    with pytest.raises(ConfigError) as error:
        configured(registry, more)
    return str(error.value)


EVENTS = [make_event(event=name) for name in ("one", "two", "three")]
GAP = make_event(event="gap", kind="gap", details={"reason": "x"})


def test_a_hook_is_a_sink_without_any_key_in_the_configuration(load: Load) -> None:
    (sink,) = configured(load(ONE)).sinks
    assert (sink.name, sink.type, sink.timeout) == ("mine", "mine", 30)


def test_what_it_is_for_is_said_by_the_module_or_else_by_a_hook(load: Load) -> None:
    hook = '@hookimpl\ndef tdbwatch_event(event):\n    "Pages whoever is on call."\n'
    assert load(hook).sink_types["mine"].summary == "Pages whoever is on call."
    sys.modules.pop("tdbwatch_plugin_mine")
    assert load("__doc__ = 'Pages.'\n" + hook).sink_types["mine"].summary == "Pages."


def test_the_configuration_tunes_it_without_a_type(load: Load) -> None:
    (sink,) = configured(load(ONE), "sinks: {mine: {timeout: 5s, batch: {count: 3}}}").sinks
    assert (sink.type, sink.timeout, sink.batch.count) == ("mine", 5, 3)


def test_routes_may_name_it(load: Load) -> None:
    assert [sink.name for sink in configured(load(ONE), "routes: [{to: [mine]}]").sinks] == ["mine"]


def test_an_option_that_it_does_not_have_is_refused(load: Load) -> None:
    assert "sinks.mine.url: unknown key" in complaint(load(ONE), "sinks: {mine: {url: x}}")


def test_another_sink_may_not_have_its_name(load: Load) -> None:
    said = complaint(load(ONE), "sinks: {mine: {type: log}}")
    assert "plugin 'mine' hears events as the sink of this name" in said
    assert "leave out the type to tune that sink, or give this one another name" in said


def test_a_plugin_without_a_hook_that_hears_is_no_sink(load: Load) -> None:
    registry = load("@hookimpl\ndef tdbwatch_stopping(): pass\n")
    assert [sink.name for sink in configured(registry, "sinks: {log: {type: log}}").sinks] == ["log"]


def test_events_come_one_by_one_in_order(load: Load) -> None:
    assert deliver(load(ONE).sink_types["mine"], EVENTS) == [DELIVERED] * 3
    assert heard() == ["one", "two", "three"]


def test_events_come_in_batches_where_that_is_the_hook(load: Load) -> None:
    assert deliver(load(BATCH).sink_types["mine"], EVENTS) == [DELIVERED] * 3
    assert heard() == [["one", "two", "three"]]


@pytest.mark.parametrize("code", [ONE, BATCH])
def test_a_hook_may_be_async(load: Load, code: str) -> None:
    registry = load(code.replace("def tdb", "async def tdb"))
    assert deliver(registry.sink_types["mine"], EVENTS) == [DELIVERED] * 3
    assert len(heard()) in (1, 3)


def test_a_hook_may_be_a_method_of_an_object() -> None:
    from tdbwatch.plugin import hookimpl

    class Counter:
        seen = 0

        @hookimpl
        def tdbwatch_event(self) -> None:
            self.seen += 1

    counter = Counter()
    assert deliver(counter, EVENTS) == [DELIVERED] * 3
    assert counter.seen == 3


@pytest.mark.parametrize(
    ("returned", "outcomes"),
    [
        ("None", [DELIVERED] * 3),
        ("Rejected('no')", [Rejected("no")] * 3),
        ("Retry('later') if event.event == 'two' else None", [DELIVERED, Retry("later")]),
    ],
)
def test_what_a_hook_returns_means_what_it_means_for_any_sink(
    load: Load, returned: str, outcomes: list[Any]
) -> None:
    registry = load(f"@hookimpl\ndef tdbwatch_event(event):\n    return {returned}\n")
    assert deliver(registry.sink_types["mine"], EVENTS) == outcomes


@pytest.mark.parametrize("code", [ONE, BATCH])
def test_what_a_hook_raises_is_raised_like_a_sinks(load: Load, code: str) -> None:
    registry = load(code + "    raise RuntimeError('sick')\n")
    with pytest.raises(RuntimeError, match="sick"):
        deliver(registry.sink_types["mine"], EVENTS)


def test_what_is_no_outcome_is_refused_with_the_hooks_name(load: Load) -> None:
    registry = load("@hookimpl\ndef tdbwatch_event(event):\n    return 7\n")
    with pytest.raises(TypeError, match="tdbwatch_event returned int"):
        deliver(registry.sink_types["mine"], EVENTS)


def test_each_kind_of_record_comes_to_its_hook(load: Load) -> None:
    registry = load(ONE + "@hookimpl\ndef tdbwatch_gap(gap):\n    heard.append(gap.details['reason'])\n")
    assert registry.sink_types["mine"].hears == {"event", "gap"}
    assert deliver(registry.sink_types["mine"], [EVENTS[0], GAP, EVENTS[1]]) == [DELIVERED] * 3
    assert heard() == ["one", "x", "two"]


def test_a_record_without_a_hook_for_it_is_nothing_to_the_plugin(load: Load) -> None:
    assert deliver(load(ONE).sink_types["mine"], GAP) == [DELIVERED]
    assert heard() == []


def test_batches_are_of_events_only_and_what_follows_waits_for_the_next_call(load: Load) -> None:
    mine = load(BATCH + "@hookimpl\ndef tdbwatch_gap(gap):\n    heard.append('gap')\n").sink_types["mine"]
    assert deliver(mine, [*EVENTS, GAP]) == [DELIVERED] * 3
    assert deliver(mine, [GAP, GAP, *EVENTS]) == [DELIVERED] * 2
    assert heard() == [["one", "two", "three"], "gap", "gap"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (ONE + BATCH, "it has both tdbwatch_event and tdbwatch_events"),
        (
            "@hookimpl\ndef tdbwatch_event(event, more): pass\n",
            "an argument more, which this hook does not give; it may take event and context",
        ),
        (
            "@hookimpl(wrapper=True)\ndef tdbwatch_event(event): return (yield)\n",
            "tdbwatch_event is a wrapper",
        ),
        (
            "@sink('mine')\ndef shout(event): pass\n" + ONE,
            "it offers the sink type mine twice; the first one counts",
        ),
        (
            "__tdbwatch_api__ = 99\n" + ONE,
            "it needs version 99 of the plugin contract, and this is 1; install",
        ),
        ("__tdbwatch_api__ = '1'\n" + ONE, "__tdbwatch_api__ is '1'; it must be a whole number"),
    ],
)
def test_a_plugin_that_cannot_be_meant_so_is_reported(load: Load, code: str, said: str) -> None:
    (problem,) = load(code).problems
    assert said in problem.reason
    assert "mine.py" in problem.where


@pytest.mark.parametrize("named", ["routes: [{to: [mine]}]", "sinks: {mine: {timeout: 5s}}"])
def test_events_wait_for_a_plugin_that_did_not_load_where_the_configuration_names_it(
    load: Load, named: str
) -> None:
    registry = load("import a_module_that_nobody_has\n" + ONE)
    document = parse((CONFIG + named).encode(), "prod.yaml", {})
    stand_in(registry, document.wanted_types(), document.wanted_hooks())
    assert [sink.name for sink in document.config(registry.sink_types).sinks] == ["mine"]
    with pytest.raises(Exception, match="a_module_that_nobody_has"):
        deliver(registry.sink_types["mine"], EVENTS)


def test_commands_that_import_no_plugin_know_which_are_sinks(load: Load, tmp_path: Path) -> None:
    load("raise RuntimeError('importing it does harm')\n" + ONE)
    assert "mine" in sinks_by_hooks([tmp_path / "plugins.d"])
    assert "mine" not in sinks_by_hooks([tmp_path / "plugins.d"], {"mine"})
    load("@hookimpl\ndef tdbwatch_stopping(): pass\n")
    assert sinks_by_hooks([tmp_path / "plugins.d"]) == []
