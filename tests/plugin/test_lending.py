"""Plugins add functions to expressions and filters to templates; what one does wrong there harms no event."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tdbwatch.daemon.config import ConfigError, parse
from tdbwatch.daemon.expressions import Expression, Names, declare
from tdbwatch.daemon.expressions.bounds import EvaluationError
from tdbwatch.daemon.plugins import Registry, lending, load_plugins
from tdbwatch.daemon.plugins.registry import Resting
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.status.tail.filter import Filter, FilterError
from tdbwatch.plugin import Event, Template, TemplateError
from tdbwatch.plugin.template import declare_filters

CODE = """
from datetime import datetime, timedelta
from typing import Any
from tdbwatch.plugin import hookimpl
import threading
go_on = threading.Event()

def owner(host: str, default: str = "nobody") -> str:
    return {"db1": "ann"}.get(host, default)

def twice(number: float) -> float:
    return 2 * number

def kind_of(value: Any) -> str:
    return type(value).__name__

def parts(text: str | None) -> list[str]:
    return [] if text is None else text.split(".")

def later(when: datetime, by: timedelta) -> datetime:
    return when + by

def raises(text: str) -> bool:
    raise KeyError(text)

def exits() -> bool:
    raise SystemExit(3)

def lies() -> str:
    return 5

def hangs() -> bool:
    return go_on.wait(20)

def shout(value, times=1):
    return str(value).upper() * times

def breaks(value):
    raise SystemExit(3)

@hookimpl
def tdbwatch_functions():
    return dict(owner=owner, twice=twice, kind_of=kind_of, parts=parts, later=later, raises=raises,
                exits=exits, lies=lies, hangs=hangs)

@hookimpl
def tdbwatch_filters():
    return {"shout": shout, "breaks": breaks}
"""
BASE = "thingsdb: {nodes: [localhost], auth: {token: t}}\nrooms: [alerts]\nsinks: {console: {type: log}}\n"

Load = Callable[..., Registry]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load plugins with this code, by name."""
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)
    written: list[str] = []

    def load(code: str = CODE, **others: str) -> Registry:
        for name, text in {"geo": code, **others}.items():
            (folder / f"{name}.py").write_text(dedent(text))
            written.append(name)
        return load_plugins([folder])

    yield load
    for name in written:
        sys.modules.pop(f"tdbwatch_plugin_{name}", None)
    declare([])
    declare_filters({})


def value(source: str, *args: object) -> Any:
    return Expression(source).value_in(Names(Event.create(args=args), {}))


def why_not(source: str, *args: object) -> str:
    with pytest.raises(EvaluationError) as error:
        value(source, *args)
    return str(error.value)


def complaint(registry: Registry, more: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse((BASE + more).encode(), "prod.yaml", {}).config(registry.sink_types)
    return str(error.value)


def test_expressions_call_functions_with_the_values_of_events(load: Load) -> None:
    assert load().problems == []
    assert value("owner(args[0].host)", {"host": "db1"}) == "ann"
    assert value("twice(args[0]) + twice(args[1])", 1.5, 2) == 7.0
    kinds = [value("kind_of(args[0])", one) for one in (1, 1.5, "a", True, None, [1], {"a": 1}, b"x")]
    assert kinds == ["int", "float", "str", "bool", "NoneType", "list", "dict", "bytes"]
    assert value("parts(args[0])", "a.b") == ["a", "b"]
    assert value("parts(args[0])", None) == []
    assert value("later(time, duration('24h')) > time") is True


def test_a_condition_calls_them_for_each_event_whatever_was_said_before(load: Load) -> None:
    code = """
    from itertools import count
    from tdbwatch.plugin import hookimpl
    calls = count(1)

    def is_odd_call(host: str) -> bool:
        return next(calls) % 2 == 1

    @hookimpl
    def tdbwatch_functions():
        return {"is_odd_call": is_odd_call}
    """
    assert load(code).problems == []
    condition = Expression("is_odd_call(args[0])", "condition")
    event = Event.create(args=["db1"])
    assert [condition.value_in(Names(event, {})) for _ in range(4)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("owner(5) == 'x'", "prod.yaml:4:24: routes[0].where: owner does not work with (int)"),
        ("owner('x') > 5", "> does not work with (string, int)"),
        ("ownr('x') == 'y'", "there is no 'ownr' here\n    did you mean owner?"),
        ("twice(2)", "this is a number, not true or false"),
    ],
)
def test_their_types_are_checked_when_the_configuration_is_read(load: Load, where: str, said: str) -> None:
    assert said in complaint(load(), f'routes: [{{where: "{where}", to: console}}]')


def test_a_function_that_fails_has_no_value_for_the_event_and_is_named(load: Load) -> None:
    load()
    assert why_not("raises('x')") == "function raises of plugin geo: KeyError: 'x'"
    assert why_not("exits()") == "function exits of plugin geo: SystemExit: 3"
    assert "Unexpected value type" in why_not("lies() + 'x'")
    assert "owner" in why_not("owner(args[0]) == 'x'", 5)
    assert value("'unharmed'") == "unharmed"


def test_one_that_hangs_is_waited_for_once_and_called_again_when_it_came_back(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        lending, "SLOW", 60.0
    )  # on a busy machine it comes back late, and would rest for that
    registry = load()
    assert registry.resting == ()
    with monkeypatch.context() as patch:
        patch.setattr(lending, "DEADLINE", 0.05)
        assert why_not("hangs()") == "function hangs of plugin geo did not come back within 0.05 s"
    monkeypatch.setattr(lending, "DEADLINE", 20.0)
    assert why_not("hangs()") == "function hangs of plugin geo has not come back from an earlier call"
    assert value("owner('db1')") == "ann"
    (resting,) = registry.resting
    assert (resting.plugin, resting.kind, resting.name) == ("geo", "function", "hangs")
    assert (resting.state, resting.seconds >= 0.05) == ("stuck", True)
    sys.modules["tdbwatch_plugin_geo"].go_on.set()  # type: ignore[attr-defined]
    (thread,) = (one for one in threading.enumerate() if one.name == "tdbwatch function hangs of plugin geo")
    for _ in range(1000):
        if "earlier" not in why_not_or("hangs()"):
            break
        thread.join(0.01)
    assert value("hangs()") is True
    assert registry.resting == ()


def why_not_or(source: str) -> str:
    try:
        return str(value(source))
    except EvaluationError as error:
        return str(error)


def test_one_that_is_slow_now_and_then_is_called_and_one_that_always_is_takes_a_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy machine makes any call slow; no event must miss its route by that."""
    now = 0.0

    def call() -> bool:
        nonlocal now
        now += 0.2
        return True

    monkeypatch.setattr(lending.time, "monotonic", lambda: now)
    lent = lending.Lent("geo", "function", "call", call)
    assert [lent() for _ in range(3)] == [True, True, True]
    with pytest.raises(
        lending.LentError, match="function call of plugin geo was slow, and is not called for"
    ):
        lent()
    assert lent.resting == Resting("geo", "function", "call", "slow", pytest.approx(1.6))
    calls = 3
    while now < 400:
        try:
            calls += lent()
        except lending.LentError:
            now += 0.5
    assert 18 <= calls * 0.2 <= 22, "a twentieth of the time"


def test_functions_are_called_in_whatever_thread_an_expression_is_asked(load: Load) -> None:
    load()
    told: list[Any] = []
    first = threading.Thread(target=lambda: told.append(value("owner('db1')")))
    first.start()
    first.join()
    assert [*told, value("owner('db1')")] == ["ann", "ann"]


def test_templates_use_filters(load: Load) -> None:
    load()
    event = Event.create(args=["db1"])
    assert Template("{{ args[0] | shout(2) }}!").render(event) == "DB1DB1!"
    with pytest.raises(TemplateError, match="filter breaks of plugin geo: SystemExit: 3"):
        Template("{{ args[0] | breaks }}").render(event)
    with pytest.raises(TemplateError, match=r"there is no filter 'shuot'; did you mean shout\?"):
        Template("{{ args[0] | shuot }}")


def test_a_route_follows_its_on_error_when_a_function_fails_and_who_looks_at_the_page_calls_none(
    load: Load,
) -> None:
    registry = load()
    routes = "routes: [{where: 'raises(event)', on_error: %s, to: console}]"
    decided = []
    for on_error in ("match", "skip"):
        config = parse((BASE + routes % on_error).encode(), "prod.yaml", {}).config(registry.sink_types)
        decided.append("console" in Router(config.routes, {"console": frozenset()}).decide(Event.create()))
    assert decided == [True, False]
    with pytest.raises(FilterError, match="there is no 'owner' here"):
        Filter.of({"where": "owner('db1') == 'ann'"}, sees_contents=True)


def only(name: str, function: str, hook: str = "functions") -> str:
    return f"""
from tdbwatch.plugin import hookimpl
{function}
@hookimpl
def tdbwatch_{hook}():
    return {name}
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (only("{'f': f}", "def f(a): return 1"), "nobody can tell the type of 'a' of f; annotate with bool"),
        (only("{'f': f}", "def f(a: int): return 1"), "the type of what f returns"),
        (only("{'f': f}", "def f(*a: int) -> int: return 1"), "f takes *a: int; it must take arguments by"),
        (only("{'f': f}", "def f(a: 'Nothing') -> int: ..."), "the annotations of f cannot be read"),
        (only("{'f': f}", "async def f() -> int: ..."), "f is no plain function"),
        (only("{'f g': f}", "def f() -> int: ..."), "'f g' cannot be the name of a function"),
        (only("{'size': f}", "def f() -> int: ..."), "size means something in every expression already"),
        (only("{'args': f}", "def f() -> int: ..."), "args means something in every expression already"),
        (only("[f]", "def f() -> int: ..."), "tdbwatch_functions gave list; it must give a mapping"),
        (
            "from typing import Any\n"
            + only("{'f': f}", "def f(a: Any, b: Any, c: Any) -> int: ...", "functions"),
            "f can be called in too many ways; annotate its arguments more narrowly",
        ),
        (only("{'upper': f}", "def f(a): ...", "filters"), "there is a filter upper in every template"),
        (only("{'f': f}", "def f(): ...", "filters"), "filter f must take one argument, the value"),
        (only("{'f': f}", "f = 5", "filters"), "f is no plain function"),
    ],
)
def test_what_cannot_be_one_is_reported_with_the_plugin(load: Load, code: str, said: str) -> None:
    (problem,) = load(code).problems
    assert problem.plugin == "geo"
    assert said in str(problem)


def test_of_several_that_cannot_be_one_each_is_reported_and_the_others_count(load: Load) -> None:
    registry = load(
        """
from tdbwatch.plugin import hookimpl
def untyped(value): return value
def doubled(value: int) -> int: return 2 * value
async def waiting(value: int) -> int: return value

@hookimpl
def tdbwatch_functions():
    return {"untyped": untyped, "doubled": doubled, "waiting": waiting}
"""
    )
    assert [problem.reason.split()[-1] for problem in registry.problems] == ["Any", "async"]
    assert all("geo.py:" in problem.where for problem in registry.problems)
    assert list(registry.functions) == ["doubled"]


def test_of_two_with_one_name_the_first_counts_and_both_plugins_are_named(load: Load) -> None:
    first = "def f() -> int: return 1\n"
    registry = load(
        only("{'f': f}", first),
        more=only("{'f': f}", "def f() -> int: return 2"),
        third=only("{'g': f}", "def f(a): return 1", "filters"),
        zulu=only("{'g': f}", "def f(a): return 2", "filters"),
    )
    function, filter_ = map(str, registry.problems)
    assert "plugin more" in function
    assert "plugin geo adds a function f already; that one counts" in function
    assert "plugin zulu" in filter_
    assert "plugin third adds a filter g already; that one counts" in filter_
    assert value("f()") == 1
    assert registry.lent_by("geo") == {"functions": ["f"]}
    assert registry.lent_by("zulu") == {}


def test_commands_that_load_no_plugins_read_the_configuration_all_the_same() -> None:
    written = BASE + "routes: [{where: \"owner(args[0]) == 'ann'\", to: console}]"
    document = parse(written.encode(), "prod.yaml", {})
    for found in (document.outline(), document.sections()):
        where = found.routes[0].where
        assert where is not None
        with pytest.raises(EvaluationError, match="owner is a plugin's function, and no plugin is loaded"):
            where.value_in(Names(Event.create(args=["x"]), {}))
    assert "there is no 'owner' here" in complaint(load_plugins(), written.removeprefix(BASE))
