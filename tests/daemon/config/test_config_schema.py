"""The schema for editors takes what the daemon takes, and refuses what anybody can see is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tdbwatch.cli import app
from tdbwatch.daemon.config.schema import schema
from tdbwatch.plugin import SinkType
from tdbwatch.plugin.sink import FunctionSink

from .config_kit import sink_types

ROOT = Path(__file__).parents[3]
HEAD = "thingsdb: {nodes: [a], auth: {token: t}}\nrooms: [a]\n"


def hook(options: Any, context: Any) -> FunctionSink:
    """Hears events."""
    return FunctionSink(lambda _: None, options, context)


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    types = sink_types() | {"pager": SinkType("pager", hook, hears=frozenset({"event"}))}
    made = schema(types)
    Draft7Validator.check_schema(made)
    return Draft7Validator(made)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid(validator: Draft7Validator, path: Path) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "sinks: {x: {type: log}}",
        HEAD + "sinks: {x: {type: log}}\nroutes:\nspool:",
        HEAD + "sinks: {x: {type: webhook, url_file: p, secret: [a, b], retry: {max_attempts: '${N:-5}'}}}",
        HEAD + "sinks: {x: {type: webhook, url: u, body: {a: [1, '{{ room }}']}, headers: {A: {file: p}}}}",
        HEAD + "sinks: {x: {type: log, retry: {max_attempts: unlimited, max_age: unlimited}}}",
        HEAD + "sinks: {x: {type: log}}\nroutes: [{to: x, match: {room: a, kind: gap}, stop: '${STOP}'}]",
        HEAD + "sinks: {x: {type: log}}\nroutes: [{to: [x], routes: [{to: x, default: true}]}]",
        HEAD + "sinks: {pager: {timeout: 5s}}",
        HEAD,
        HEAD + "include: [conf.d/*.yaml, more.yaml]",
        "rooms: [a]\nthingsdb: {auth: {token_file: p}}",
        "thingsdb: {nodes: [a], auth: {username: u, password_file: p}, connections: 3}\nrooms: [{id: 5}]",
    ],
)
def test_what_the_daemon_takes_is_valid(validator: Draft7Validator, text: str) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "rooms: a",
        "include: conf.d/*.yaml",
        HEAD + "sinks: {x: {type: lgo}}",
        HEAD + "sinks: {x: {}}",
        HEAD + "sinks: {x: {type: file}}",
        HEAD + "sinks: {x: {type: webhook}}",
        HEAD + "sinks: {x: {type: log, levl: info}}",
        HEAD + "sinks: {x: {type: log, level: loud}}",
        HEAD + "sinks: {x: {type: log, retry: {max_attempts: -1}}}",
        HEAD + "sinks: {x: {type: log}}\nspol: {}",
        HEAD + "sinks: {x: {type: log}}\nroutes: [{too: x}]",
        "thingsdb: {nodes: [a], auth: {tokn: t}}\nrooms: [a]",
        "thingsdb: {nodes: [], auth: {token: t}}\nrooms: [a]",
        "thingsdb: {nodes: [a], auth: {token: t}}\nrooms: [{name: a, scop: //x}]",
    ],
)
def test_what_anybody_can_see_is_wrong_is_not(validator: Draft7Validator, text: str) -> None:
    assert not validator.is_valid(yaml.safe_load(text))


def test_the_command_prints_it_with_the_configurations_own_plugins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    (tmp_path / "plugins.d" / "mine.py").write_text(
        "from tdbwatch.plugin import Options, sink\nclass O(Options): colour: str\n"
        "@sink('mine', options=O)\ndef mine(event, options): pass\n"
    )
    (tmp_path / "plugins.d" / "mine.py").chmod(0o644)
    (tmp_path / "prod.yaml").write_text(HEAD + "plugins: {paths: [plugins.d]}")
    (tmp_path / "prod.yaml").chmod(0o600)
    assert app.main(["schema", "--config", str(tmp_path / "prod.yaml")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["$schema"] == "http://json-schema.org/draft-07/schema#"
    validator = Draft7Validator(made)
    assert validator.is_valid(yaml.safe_load(HEAD + "sinks: {x: {type: mine, colour: red}}"))
    assert not validator.is_valid(yaml.safe_load(HEAD + "sinks: {x: {type: mine}}"))
