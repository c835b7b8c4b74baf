"""Whatever a file holds, it becomes a configuration or a `ConfigError` that can be shown."""

import json
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.config import Config, ConfigError, parse
from tdbwatch.plugin import Options, Secret, SinkType

from .config_kit import Idle, has_remedy

SECRET = "Zq7Wk9Xv"


class HookOptions(Options):
    url: Secret
    headers: dict[str, Secret] | None = None
    folder: Path | None = None
    level: int | bool | None = None


TYPES = {"log": SinkType("log", Idle), "hook": SinkType("hook", Idle, HookOptions)}
ENVIRON = {"S": SECRET, "EMPTY": "", "ODD": "\udc80"}

WORDS = """
thingsdb rooms sinks routes spool http logging plugins shutdown nodes auth token token_file username password
scope connections tls heartbeat interval timeout name id code as args required type retry batch url headers
initial factor max jitter max_attempts max_age count bytes wait match room event kind to stop where paths path
max_size when_full listen level format disable grace log hook console unlimited auto gap 10s 1GiB //stuff
"""
ODD = ["${S}", "${S}x", "${EMPTY}", "${ODD}", "${NOPE}", "${", "$${S}", "", "\0", "*", "a[", "\ud800"]
words = st.sampled_from(WORDS.split())
odd = st.sampled_from(ODD)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | odd | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | odd, inner, max_size=5),
    max_leaves=25,
)
TOKENS = ["thingsdb:", "rooms:", "sinks:", "\n", "  ", "\t", "- ", "[", "]", "{", "}", ",", ": ", "&a", "*a"]
TOKENS += ["<<", "|", ">", "'", '"', "\\", "#", "---", "...", "%YAML 1.9", "? ", "${S}", "1", "true", "\x00"]
TOKENS += ["!!x", "!", "\u2028"]

GOOD: dict[str, Any] = {
    "thingsdb": {"nodes": ["a"], "auth": {"token": "t"}},
    "rooms": ["alerts", {"id": 1, "as": "x", "args": ["y"]}],
    "sinks": {"console": {"type": "log", "retry": {"max": "1h"}}, "h": {"type": "hook", "url": "x"}},
    "routes": [{"match": {"room": ["a*"], "kind": "gap"}, "to": ["console"], "stop": True}],
    "spool": {"path": "x", "max_size": "1GiB"},
    "http": {"listen": "a:1"},
    "plugins": {"paths": ["p"], "disable": []},
}


def judge(content: bytes) -> Config | None:
    """The configuration, or None where it was refused in words that can be shown."""
    try:
        config = parse(content, "f.yaml", ENVIRON).config(TYPES)
        assert SECRET not in "\n".join(map(str, config.warnings))
        assert all(warning.hint and warning.line >= 1 for warning in config.warnings)
        return config
    except ConfigError as error:
        refused = error
    assert refused.problems
    assert SECRET not in str(refused)
    str(refused).encode()
    assert all(problem.message for problem in refused.problems)
    assert all(map(has_remedy, refused.problems)), refused
    assert all(min(problem.line, problem.column) >= 1 for problem in refused.problems)
    return None


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes):
    judge(content)


@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
@example('a: "\\U00110000"')
@example("%YAML 99999999999999999999.1\n---\na")
def test_any_yaml_tokens(text: str):
    judge(text.encode())


@given(values)
def test_any_data(data: Any):
    judge(json.dumps(data).encode())


def paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] + [below for key, value in inner for below in paths(value, (*path, key))]


@settings(max_examples=300)
@given(st.sampled_from(paths(GOOD)[1:]), values)
def test_a_good_configuration_with_any_value_in_any_place(path: tuple[Any, ...], value: Any):
    data = json.loads(json.dumps(GOOD))
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    judge(json.dumps(data).encode())


def test_the_good_configuration_is_good():
    assert judge(json.dumps(GOOD).encode()) is not None


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_text_in_a_variable_arrives_as_it_is(text: str):
    data = {**GOOD, "sinks": {"h": {"type": "hook", "url": "<${S}>"}}, "routes": []}
    config = parse(json.dumps(data).encode(), "f.yaml", {"S": text}).config(TYPES)
    options = config.sinks[0].options
    assert isinstance(options, HookOptions)
    assert options.url.get_secret_value() == f"<{text}>"
