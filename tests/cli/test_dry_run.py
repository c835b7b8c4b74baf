"""`tdbwatch replay --dry-run`: what other routes would do with the events that the log holds."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tdbwatch.cli import app
from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.routing.dry_run import Outcome, dry_run
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, encode_run, pack, run_of
from tdbwatch.plugin import Event

from .conftest import CONFIG, MakeSpool

EVENTS = [
    *(Event.create("alerts", "load", [{"severity": n % 6}]) for n in range(60)),
    *(Event.create("alerts", "disk-full", []) for _ in range(10)),
    Event.create("alerts", "gap", kind="gap"),
]
NEW = """
routes:
  - {match: {event: "disk-*"}, to: [audit]}
  - {where: "args[0].severity >= 4", to: [oncall]}
"""


@pytest.fixture
def folder(make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a spool, `prod.yaml` without routes, and `new.yaml` with some."""
    folder = make_spool(EVENTS)
    (folder / "new.yaml").write_text(CONFIG + NEW)
    for name in ("new.yaml", "prod.yaml"):
        (folder / name).chmod(0o600)
    monkeypatch.chdir(folder)
    return folder


def table(out: str) -> dict[str, list[str]]:
    """The rows that begin with a sink or a route."""
    rows = (line.split() for line in out.splitlines() if line)
    return {row[0]: row[1:] for row in rows}


def test_it_says_what_each_sink_would_get_and_each_route_matches(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["replay", "--dry-run", "--config", "new.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("71 records in the log; nothing was delivered\n")
    rows = table(out)
    assert (rows["audit"], rows["oncall"]) == (["10"], ["20"])
    assert (rows["routes[0]"], rows["routes[1]"]) == (["10"], ["20"])
    assert "41 records would go to no sink" in out
    assert "routes[1]: no value for 10 events" in out


def test_it_compares_with_another_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["replay", "--dry-run", "-c", "new.yaml", "--against", "prod.yaml"]) == 0
    rows = table(capsys.readouterr().out)
    assert rows["audit"][:3] == ["10", "0", "61"]
    assert rows["oncall"][:3] == ["20", "0", "51"]
    assert rows["oncall"][3] in {event.id for event in EVENTS}


def test_it_may_be_about_some_of_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["replay", "--dry-run", "-c", "prod.yaml", "--event", "disk-*"]) == 0
    assert capsys.readouterr().out.startswith("10 records in the log")
    assert app.main(["replay", "--dry-run", "-c", "prod.yaml", "--until", "1h"]) == 0
    assert capsys.readouterr().out.startswith("0 records in the log")


def test_routes_that_remember_do_so_as_time_passes_in_the_log() -> None:
    """What other routes made of the events is left out, and what they held back is not."""
    events = [
        Event.create("alerts", "x", [n], kind=kind, received_us=n * 10_000_000)
        for n, kind in ((1, "event"), (2, "event"), (3, "event"), (4, "suppressed"), (30, "event"))
    ]
    runs = [replace(run_of(event), held=("another",)) for event in events]
    block = Block(1, 5, Lane("//stuff", "alerts"), None, pack(list(map(encode_run, runs))))
    group = RouteConfig.model_validate({"group": {"wait": "25s"}, "to": ["b"]})
    absence = AbsenceConfig.model_validate({"name": "a", "match": {}, "after": "100s", "to": ["c"]})
    router = Router.of_names([group], "abc", [absence])
    found = dry_run([block], None, router, Router.of_names([], "abc"))
    assert (found.events, found.made, found.nowhere) == (4, 3, 0)
    assert found.sinks == {"b": 1, "c": 2}
    assert (found.more, found.fewer) == ({"b": 1, "c": 2}, {"a": 4, "b": 4, "c": 4})


def test_what_both_configurations_make_of_the_events_is_no_change() -> None:
    """Each trial mints ids of its own for it. A route that only moved makes the same."""
    runs = [run_of(Event.create("alerts", "x", [n], received_us=n * 10_000_000)) for n in (1, 2, 30, 60)]
    block = Block(1, 4, Lane("//stuff", "alerts"), None, pack(list(map(encode_run, runs))))
    group = RouteConfig.model_validate({"group": {"wait": "25s"}, "to": ["b"]})
    throttle = RouteConfig.model_validate({"throttle": {"count": 1, "per": "25s"}, "to": ["c"]})
    told = RouteConfig.model_validate({"match": {"kind": "suppressed"}, "to": ["a"]})

    def compared(*routes: RouteConfig) -> Outcome:
        before = Router.of_names([group, throttle, told], "abc")
        return dry_run([block], None, Router.of_names(routes, "abc"), before)

    same = compared(group, throttle, told)
    assert (same.made, same.sinks) == (3, {"a": 1, "b": 2, "c": 3})
    assert (same.more, same.fewer) == ({}, {})
    moved = compared(throttle, told, group)
    assert (moved.more, moved.fewer) == ({}, {})
    assert (compared(group, told).more, compared(group, told).fewer) == ({}, {"a": 1, "c": 3})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--spool", "spool.db"], "it tries the routes of a configuration: --config FILE"),
        (["--config", "new.yaml", "--sink", "audit"], "it is about all sinks: leave out --sink and --dead"),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["replay", "--dry-run", *arguments]) == 64
    assert said in capsys.readouterr().err


def test_nothing_is_ordered(folder: Path) -> None:
    before = (folder / "spool.db").read_bytes()
    app.main(["replay", "--dry-run", "--config", "new.yaml"])
    assert (folder / "spool.db").read_bytes() == before


@pytest.mark.parametrize("with_conditions", [False, True])
def test_counting_by_name_is_the_same_as_asking_about_each(with_conditions: bool) -> None:
    routes = [{"match": {"event": "disk-*"}, "to": ["a"]}, {"match": {"kind": ["gap", "event"]}, "to": ["b"]}]
    if with_conditions:
        routes.append({"where": "args[0].severity >= 4", "to": ["c"]})

    def made() -> Router:
        return Router.of_names([RouteConfig.model_validate(route) for route in routes], ["a", "b", "c"])

    body = pack([encode_run(run_of(event)) for event in EVENTS])
    block = Block(1, len(EVENTS), Lane("//stuff", "alerts"), None, body)
    counted = dry_run([block], None, made(), None)
    asked = dry_run([block], lambda _: True, made(), None)
    assert isinstance(counted, Outcome)
    assert counted == asked
