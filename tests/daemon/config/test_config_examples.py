"""The examples load, and docs/configuration.md speaks of every key."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from tdbwatch.daemon.config import Config, RoomConfig, SinkSettings, load, read
from tdbwatch.daemon.config.models.config import BESIDE_SECTIONS, Sections
from tdbwatch.daemon.config.secrets.secret_keys import SUFFIXES, nested_models, secret_fields
from tdbwatch.daemon.routing.route_tests import run_tests

from .config_kit import sink_types

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "config").glob("*.yaml"))
ELSEWHERE = re.compile("disk has space|no such program")  # what other machines have


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "thingsdb-token").write_text("t0ken\n")
    (tmp_path / "hook-secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    urls = {f"{name}_URL": "https://example.org/hook" for name in ("SLACK", "TEAMS", "DISCORD")}
    for name in ("redis", "nats", "postgres"):
        (tmp_path / f"{name}-password").write_text("passw0rd\n")
    keys = {
        "SLACK_TOKENS": "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "THINGSDB_TOKEN": "t0ken",
        "PAGERDUTY_KEY": "r0uting",
        "OPSGENIE_KEY": "k3y",
    }
    return {**urls, **keys, "CREDENTIALS_DIRECTORY": str(tmp_path)}


def example(name: str, environ: dict[str, str]) -> Config:
    return load(ROOT / "config" / name, sink_types(), environ)


def test_the_examples_are_those_that_the_documentation_names():
    documented = set(re.findall(r"config/([a-z-]+\.yaml)", (ROOT / "docs/configuration.md").read_text()))
    assert documented == {path.name for path in EXAMPLES}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Apprise imports
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads(path: Path, environ: dict[str, str]):
    config = load(path, sink_types(), environ)
    assert config.sinks
    assert [str(warning) for warning in config.warnings if not ELSEWHERE.search(warning.message)] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Apprise imports
def test_the_tests_of_the_destinations_pass(environ: dict[str, str]):
    checked = read(ROOT / "config" / "destinations.yaml", environ).check(sink_types())
    results = list(run_tests(checked.sections, checked.sinks))
    assert [(result.name, result.faults) for result in results] == [(results[0].name, ())]
    types = {sink.settings.type for sink in example("destinations.yaml", environ).sinks}
    assert types == sink_types().keys() - {"log", "file", "webhook"}


def test_what_the_full_example_calls_a_default_is_one(environ: dict[str, str]):
    full, minimal = example("full.yaml", environ), example("minimal.yaml", environ)
    assert full.spool == minimal.spool
    assert full.logging == minimal.logging
    assert full.shutdown == minimal.shutdown
    assert full.thingsdb.heartbeat == minimal.thingsdb.heartbeat
    assert full.thingsdb.scope == minimal.thingsdb.scope
    oncall = next(sink for sink in full.sinks if sink.name == "oncall")
    assert oncall.settings == minimal.sinks[0].settings.model_copy(update={"type": "webhook"})


def keys(model: type[BaseModel], above: str) -> Iterator[str]:
    """Every key of the model, written as the documentation does."""
    secrets = set(secret_fields(model))
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        inner = list(nested_models(field.annotation))
        if not inner or "." in key:
            yield key
        if key.rpartition(".")[2] in secrets:
            yield from (key + suffix for suffix in SUFFIXES)
        listed = "[]" if str(field.annotation).startswith("tuple") else ""
        for section in inner:
            if section is not model:  # routes within routes
                yield from keys(section, f"{key}{listed}.")


ALL_KEYS = [*keys(Sections, ""), *keys(SinkSettings, "sinks.*."), "include", "defaults"]


def test_all_keys_are_found():
    assert {"rooms[].as", "sinks.*.retry.max_age", "thingsdb.auth.token_file", "http.listen"} <= set(ALL_KEYS)
    assert len(ALL_KEYS) > len(RoomConfig.model_fields) * 5


@pytest.mark.parametrize("key", ALL_KEYS)
def test_the_documentation_and_the_full_example_speak_of(key: str):
    assert f"`{key}`" in (ROOT / "docs/configuration.md").read_text()
    last = key.rpartition(".")[2]
    assert re.search(rf"\b{last}\b", (ROOT / "config/full.yaml").read_text())


def test_the_documentation_names_no_key_that_is_not_there():
    text = (ROOT / "docs/configuration.md").read_text()
    sections = {*Sections.model_fields, *BESIDE_SECTIONS}
    named = set(re.findall(r"^\| `([a-z_.*\[\]]+)`", text, re.MULTILINE))
    assert {key for key in named if re.split(r"\W", key)[0] in sections} <= set(ALL_KEYS)


@pytest.mark.parametrize("model", [Sections, SinkSettings])
def test_every_key_has_a_description_for_the_schema(model: type[BaseModel]):
    for name, field in model.model_fields.items():
        for section in (inner for inner in nested_models(field.annotation) if inner is not model):
            test_every_key_has_a_description_for_the_schema(section)
        if model is not Sections:
            assert field.description, f"{model.__name__}.{name}"
