"""What a change of the configuration means: which rooms, sinks and routes stay, what waits for a restart."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.config import Config, parse
from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.secrets.rotating import RotatingSecret
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.reload.plan import LIVE, RESTART, Plan, plan

TYPES = load_plugins((), ()).sink_types
BASE: dict[str, Any] = {
    "thingsdb": {"nodes": ["127.0.0.1"], "auth": {"token": "sesame"}},
    "rooms": ["alerts"],
    "sinks": {"console": {"type": "log"}},
}


def config(folder: Path = Path("/tmp/nowhere"), **sections: Any) -> Config:
    return parse(json.dumps({**BASE, **sections}).encode(), str(folder / "watch.yaml"), {}).config(TYPES)


def change(old: Mapping[str, Any], new: Mapping[str, Any]) -> Plan:
    return plan(config(**old), config(**new))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, []),
        ({}, {"rooms": [{"name": "alerts"}]}, []),
        ({}, {"rooms": ["alerts", "deploys"]}, ["room deploys in //stuff joined"]),
        ({"rooms": ["alerts", {"id": 5}]}, {}, ["room 5 in //stuff left"]),
        ({}, {"rooms": [{"name": "alerts", "as": "alarms"}]}, ["room alarms in //stuff changed"]),
        (
            {},
            {"rooms": [{"name": "alerts", "scope": "//ops"}]},
            ["room alerts in //ops joined", "room alerts in //stuff left"],
        ),
        ({}, {"sinks": {"log": {"type": "log"}}}, ["sink log opened", "sink console closed"]),
        ({}, {"sinks": {"console": {"type": "log", "timeout": "5s"}}}, ["sink console reopened"]),
        ({}, {"routes": [{"to": ["console"]}]}, ["routes changed"]),
        (
            {},
            {"absences": [{"name": "a", "match": {}, "after": "1m", "to": "console"}]},
            ["absences changed"],
        ),
        (
            {"routes": [{"where": "args[0] > 1", "to": ["console"]}]},
            {"routes": [{"where": "args[0] > 2", "to": ["console"]}]},
            ["routes changed"],
        ),
        (
            {"routes": [{"match": {"room": "a*"}, "where": "args[0] > 1", "to": "console"}]},
            {"routes": [{"match": {"room": ["a*"]}, "where": "args[0] > 1", "to": ["console"]}]},
            [],
        ),
        ({}, {"logging": {"level": "debug"}}, ["logging changed"]),
        ({}, {"thingsdb": {**BASE["thingsdb"], "auth": {"token": "open"}}}, ["thingsdb.auth changed"]),
        ({}, {"tests": [{"name": "t", "given": [{"room": "alerts"}], "expect": {"console": 1}}]}, []),
    ],
)
def test_what_is_otherwise_is_said_in_words(
    old: Mapping[str, Any], new: Mapping[str, Any], changes: list[str]
) -> None:
    found = change(old, new)
    assert list(found.changes) == changes
    assert found.restart == ()


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        ("spool.path", {"spool": {"path": "/srv/other.db"}}),
        ("plugins.disable", {"plugins": {"disable": ["exec"]}}),
    ],
)
def test_what_waits_for_a_restart_is_named_and_stays_as_it_was(key: str, sections: Mapping[str, Any]) -> None:
    old = config()
    found = plan(old, config(**sections, rooms=["alerts", "deploys"]))
    assert found.restart == (key,)
    section, _, name = key.partition(".")
    assert getattr(getattr(found.config, section), name) == getattr(getattr(old, section), name)
    assert found.changes == ("room deploys in //stuff joined",), "the rest is taken up"


@pytest.mark.parametrize("wanted", ["auto", 2])
def test_nodes_that_allow_more_connections_wait_for_a_restart_with_that(wanted: object) -> None:
    one, three = (
        {"thingsdb": {**BASE["thingsdb"], "nodes": nodes, "connections": wanted}}
        for nodes in (["a"], ["a", "b", "c"])
    )
    found = change(one, three)
    assert (found.changes, found.restart) == (("thingsdb.nodes changed",), ("thingsdb.connections",))
    assert found.config.thingsdb.live_connections == 1


def test_every_key_of_the_configuration_is_taken_up_or_named_and_none_is_forgotten() -> None:
    """A key that is neither would change in the file, and in nothing else, without a word."""
    live = {"rooms", "sinks", "routes", "absences", "tests", "plugins.options", "thingsdb.scope", *LIVE}
    made, keys = config(http={"listen": "127.0.0.1:0"}), set[str]()
    for section in Sections.model_fields:
        fields = getattr(type(getattr(made, section)), "model_fields", {})
        keys |= {section} if section in live else {f"{section}.{name}" for name in fields}
    assert keys - live - set(RESTART) == set()
    assert set(RESTART) - keys == set(), "all of them exist"


def test_a_secret_or_certificate_that_was_replaced_makes_a_sink_another_one(tmp_path: Path) -> None:
    for name in ("secret", "cert.pem"):
        (tmp_path / name).write_text("one")
        (tmp_path / name).chmod(0o600)
    sinks = {
        "hook": {"type": "webhook", "url": "https://h/", "secret_file": "secret"},
        "tls": {"type": "webhook", "url": "https://h/", "tls": {"cert_file": "cert.pem"}},
        "file": {"type": "file", "path": "out.jsonl"},
    }
    old = config(tmp_path, sinks=sinks)
    assert plan(old, config(tmp_path, sinks=sinks)).reopened == ()
    (tmp_path / "cert.pem").write_text("two")
    assert plan(old, config(tmp_path, sinks=sinks)).reopened == ("tls",)
    (tmp_path / "secret").write_text("two")
    assert plan(old, config(tmp_path, sinks=sinks)).reopened == ("hook", "tls")


def test_what_stays_keeps_the_very_secrets_that_are_renewed_in_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("one")
        (tmp_path / name).chmod(0o600)
    sinks = {name: {"type": "webhook", "url": "https://h/", "secret_file": name} for name in ("a", "b")}
    old = config(tmp_path, sinks=sinks)
    new = config(tmp_path, sinks={**sinks, "b": {**sinks["b"], "timeout": "1s"}})
    found = plan(old, new).config
    assert found.rotating is not None
    for name, source in (("a", old), ("b", new)):
        secret = next(sink.options.secret for sink in source.sinks if sink.name == name)
        assert isinstance(secret, RotatingSecret)
        assert found.rotating.secrets["sinks", name, "secret"] is secret


names = st.sampled_from(["a", "b", "c"])
sinks = st.dictionaries(
    names, st.builds(lambda n: {"type": "log", "batch": {"count": n}}, st.integers(1, 3)), min_size=1
)
rooms = st.lists(
    st.one_of(
        names, st.builds(lambda n, alias: {"id": n, "as": alias}, st.integers(1, 2), st.sampled_from("xy"))
    ),
    min_size=1,
    unique_by=lambda room: room if isinstance(room, str) else room["as"],
).filter(lambda found: len(ids := [r["id"] for r in found if isinstance(r, dict)]) == len(set(ids)))
configs = st.builds(
    lambda s, r, path, level: config(
        sinks=s,
        rooms=r,
        routes=[{"to": sorted(s)}],
        logging={"level": level},
        spool={"path": path, "max_size": "2MB"},
    ),
    sinks,
    rooms,
    st.sampled_from(["/srv/one.db", "/srv/two.db"]),
    st.sampled_from(["info", "debug"]),
)


@given(configs, configs)
def test_after_a_plan_there_is_nothing_left_to_do(old: Config, new: Config) -> None:
    first = plan(old, new)
    again = plan(first.config, new)
    assert (again.changes, again.changed) == ((), frozenset())
    assert (again.opened, again.closed, again.reopened) == ((), (), ())
    assert again.restart == first.restart
    assert plan(new, new).changes == plan(new, new).restart == ()


@given(configs, configs)
def test_each_sink_is_kept_opened_reopened_or_closed(old: Config, new: Config) -> None:
    found = plan(old, new)
    before = {sink.name: sink for sink in old.sinks}
    kept = {sink.name for sink in found.config.sinks if any(sink is one for one in old.sinks)}
    groups = (kept, set(found.opened), set(found.reopened))
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(new.sinks)
    assert set(found.closed) == before.keys() - {sink.name for sink in new.sinks}
    for sink in new.sinks:
        if sink.name in kept:
            assert sink.fingerprint == before[sink.name].fingerprint


@given(configs, configs)
def test_there_and_back_again_is_what_was(old: Config, new: Config) -> None:
    there = plan(old, new)
    back = plan(there.config, old)
    assert set(back.opened) == set(there.closed)
    assert set(back.closed) == set(there.opened)
    assert set(back.reopened) == set(there.reopened)
    assert back.restart == ()
