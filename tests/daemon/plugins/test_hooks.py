"""What plugins offer by the hook or by a mark: once each, under names that are free."""

from pathlib import Path

import pytest

from tdbwatch.testing import deliver, make_event

from .kit import GOOD, HANGS, Write, line_of, load, only_problem


def test_a_plugin_can_offer_sinks_by_the_hook(folder: Path, write: Write) -> None:
    write(
        "hooked.py",
        """
        from tdbwatch.plugin import Sink, SinkType, hookimpl

        class Mine(Sink):
            '''Mine.'''

            async def deliver(self, batch):
                pass

        @hookimpl
        def tdbwatch_sinks():
            yield SinkType("mine", Mine)
            yield SinkType("yours", Mine)
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("mine", "yours")


def test_a_sink_that_is_marked_and_given_by_the_hook_is_one_sink(folder: Path, write: Write) -> None:
    write(
        "twice.py",
        """
        from tdbwatch.plugin import hookimpl, sink
        from tdbwatch.plugin.sink import marked

        @sink("twice")
        def twice(event): pass

        @hookimpl
        def tdbwatch_sinks():
            return [marked(twice)]
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("twice",)


@pytest.mark.parametrize(
    ("body", "culprit", "said"),
    [
        ("raise RuntimeError('broken hook')", "broken hook", "RuntimeError: broken hook"),
        ("return [1]", "@hookimpl", "tdbwatch_sinks gave int; it must give SinkType("),
        ("return 7", "@hookimpl", "it gave int; it must give a list of SinkType"),
        (HANGS, "hang()", "did not return"),
    ],
)
@pytest.mark.usefixtures("sure_calls")
def test_a_hook_that_fails_leaves_the_plugins_marked_sinks(
    folder: Path, write: Write, body: str, culprit: str, said: str
) -> None:
    code = f"{GOOD}\nfrom tdbwatch.plugin import hookimpl\n\n@hookimpl\ndef tdbwatch_sinks():\n    {body}\n"
    file = write("half.py", code)
    registry = load(folder, seconds=0.05)
    problem = only_problem(registry)
    assert problem.plugin == "half"
    assert said in problem.reason
    assert problem.where == line_of(file, culprit)
    assert "good" in registry.sink_types


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("def tdbwatch_started(nonsense): pass", "an argument nonsense, which this hook does not give"),
        ("def tdbwatch_stopping(version): pass", "does not give; it takes none"),
        ("def tdbwatch_event(event, context=None): pass", "a default for context, so it would never get"),
        ("def tdbwatch_event(*, event): pass", "takes event by name only"),
        ("async def tdbwatch_started(version): pass", "is async, and nothing awaits it; write def"),
        ("async def tdbwatch_functions(): return {}", "write def tdbwatch_functions()"),
        ("def tdbwatch_event(event): yield", "is a generator"),
        ("async def tdbwatch_events(batch): yield", "is a generator"),
    ],
)
def test_a_hook_that_cannot_be_called_so_is_reported_with_its_line_and_the_plugins_sinks_stay(
    folder: Path, write: Write, hook: str, said: str
) -> None:
    file = write("odd.py", f"{GOOD}\nfrom tdbwatch.plugin import hookimpl\n@hookimpl\n{hook}\n")
    registry = load(folder)
    problem = only_problem(registry)
    assert said in problem.reason
    assert problem.where == line_of(file, "@hookimpl")
    assert list(registry.sink_types)[-1] == "good"


def test_a_hook_that_is_not_marked_is_reported_with_its_line(folder: Path, write: Write) -> None:
    file = write("odd.py", "def tdbwatch_event(event): pass\n")
    problem = only_problem(load(folder))
    assert "tdbwatch_event is not marked; write @hookimpl above it" in problem.reason
    assert problem.where == line_of(file, "def ")


def test_a_plugin_without_a_hook_and_a_sink_is_odd(folder: Path, write: Write) -> None:
    write("good.py", GOOD)
    write("a.py", "from tdbwatch.plugin import hookimpl\n@hookimpl\ndef tdbwatch_stopping(): pass\n")
    write("b.py", "class Plugin:\n    def tdbwatch_event(self, event): pass\n")
    registry = load(folder)
    assert registry.problems == []
    (warning,) = registry.warnings
    assert (warning.plugin, "no sink and no hook" in warning.reason) == ("b", True)


def test_a_hook_that_tdbwatch_does_not_know_is_reported_with_its_line(folder: Path, write: Write) -> None:
    file = write(
        "odd.py", GOOD + "\nfrom tdbwatch.plugin import hookimpl\n@hookimpl\ndef tdbwatch_startet(): pass\n"
    )
    problem = only_problem(load(folder))
    assert "tdbwatch_startet is not a hook" in problem.reason
    assert "tdbwatch_started" in problem.reason
    assert problem.where == line_of(file, "@hookimpl")


def test_of_two_plugins_that_offer_one_type_the_first_wins_and_both_are_named(
    folder: Path, write: Write
) -> None:
    write("a.py", GOOD)
    write("b.py", GOOD)
    registry = load(folder)
    problem = only_problem(registry)
    assert problem.plugin == "b"
    assert "plugin a" in problem.reason
    assert registry.owner_of("good") == "a"


def test_a_built_in_sink_type_cannot_be_taken_over(folder: Path, write: Write) -> None:
    write("a.py", GOOD.replace('"good"', '"webhook"'))
    registry = load(folder)
    assert "plugin webhook offers already" in only_problem(registry).reason
    assert registry.owner_of("webhook") == "webhook"
    assert registry.plugins[-1].sinks == ()


def test_a_plugins_name_that_is_taken_is_refused(folder: Path, write: Write) -> None:
    write("log.py", GOOD)
    registry = load(folder)
    assert "already a plugin of this name (built-in)" in only_problem(registry).reason
    assert only_problem(registry).remedy == "rename this file"
    assert "good" not in registry.sink_types


def test_two_sinks_of_one_name_in_one_plugin_are_a_problem(folder: Path, write: Write) -> None:
    write("a.py", GOOD + '\n@sink("good")\ndef other(event): pass\n')
    registry = load(folder)
    assert "sink type good" in only_problem(registry).reason
    assert registry.plugins[-1].sinks == ("good",)


def test_importing_another_plugins_sink_does_not_offer_it_again(folder: Path, write: Write) -> None:
    write(
        "mine.py",
        """
        from tdbwatch.plugin import sink
        from tdbwatch.sinks.log import LogSink

        @sink("loud")
        class Loud(LogSink):
            '''Loud.'''

        class NotMarked(Loud):
            pass
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("loud",)


def test_options_of_a_file_plugin_are_a_model_like_any_other(folder: Path, write: Write) -> None:
    write(
        "opts.py",
        """
        from __future__ import annotations
        from tdbwatch.plugin import Duration, Event, Options, sink

        class Mine(Options):
            wait: Duration = 1.0

        @sink("mine", options=Mine)
        def mine(event: Event, options: Mine):
            assert options.wait == 2.0
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert len(deliver(registry.sink_types["mine"], make_event(), {"wait": "2s"})) == 1
