"""What `defaults` says holds for sinks of its type that do not say otherwise."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tdbwatch.daemon.config import Config, ConfigError, parse
from tdbwatch.daemon.config.schema import schema
from tdbwatch.daemon.plugins import load_plugins

TYPES = load_plugins().sink_types
HEAD = "thingsdb: {nodes: [a], auth: {token: t}}\nrooms: [alerts]\n"


def config(text: str, folder: Path = Path(), **environ: str) -> Config:
    return parse((HEAD + text).encode(), str(folder / "p.yaml"), environ).config(TYPES)


def complaints(text: str, folder: Path = Path()) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        config(text, folder)
    return [str(problem).partition("\n")[0].removeprefix(f"{folder}/") for problem in refused.value.problems]


def test_a_sink_has_the_defaults_of_its_type_only_and_its_own_word_counts_more() -> None:
    a, b, c = config(
        "defaults: {webhook: {timeout: 10s, url: 'https://x.example', retry: {initial: 2s, max_age: 1d}}}\n"
        "sinks: {a: {type: webhook}, b: {type: webhook, timeout: 5s, retry: {initial: 3s}}, c: {type: log}}"
    ).sinks
    assert (a.timeout, b.timeout, c.timeout) == (10, 5, 30)
    assert (a.retry.initial, b.retry.initial, c.retry.initial) == (2, 3, 1)
    assert (a.retry.max_age, b.retry.max_age) == (86400, 86400), "groups of settings are filled key by key"


def test_what_is_no_group_of_settings_is_taken_whole() -> None:
    a, b = config(
        "defaults: {webhook: {url: 'https://x.example', headers: {X-A: one}, body: {a: 1}}}\n"
        "sinks: {a: {type: webhook}, b: {type: webhook, headers: {X-B: two}, body: {b: 2}}}"
    ).sinks
    assert list(a.options.model_dump()["headers"]) == ["X-A"]
    assert list(b.options.model_dump()["headers"]) == ["X-B"]


OPTIONS: dict[str, Any] = {
    "url": "https://x.example/${WHERE}",
    "timeout": "3s",
    "retry": {"initial": "2s", "max_attempts": "${TIMES}", "max": "1h"},
    "batch": {"count": 3, "wait": "1s"},
    "headers": {"X-A": "{{ room }}"},
    "max_in_flight": 4,
    "secret": "whsec_" + "A" * 43 + "=",
}


@settings(max_examples=40)
@given(
    st.sets(st.sampled_from(sorted(OPTIONS))), st.sets(st.sampled_from(["initial", "max_attempts", "max"]))
)
def test_wherever_an_option_stands_the_sink_is_the_same(above: set[str], inner: set[str]) -> None:
    default = {key: value for key, value in OPTIONS.items() if key in above}
    own = {"type": "webhook"} | {key: value for key, value in OPTIONS.items() if key not in above}
    if inner and "retry" not in above:
        default["retry"] = {key: value for key, value in own["retry"].items() if key in inner}
        own["retry"] = {key: value for key, value in own["retry"].items() if key not in inner}
    environ = {"WHERE": "a", "TIMES": "7"}
    made = config(yaml.safe_dump({"defaults": {"webhook": default}, "sinks": {"a": own}}), **environ)
    whole = config(yaml.safe_dump({"sinks": {"a": {"type": "webhook", **OPTIONS}}}), **environ)
    assert made.sinks == whole.sinks


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ("{webhook: {timeout: 10}}", "p.yaml:3:31: defaults.webhook.timeout: a number without a unit"),
        ("{webhook: {tiemout: 10s}}", "p.yaml:3:22: defaults.webhook.tiemout: unknown key"),
        ("{webhook: {retry: {inital: 1s}}}", "p.yaml:3:30: defaults.webhook.retry.inital: unknown key"),
        (
            "{webhook: {retry: {initial: 9s, max: 1s}}}",
            "p.yaml:3:29: defaults.webhook.retry: the longest wait",
        ),
        ("{webhook: {secret_file: gone}}", "p.yaml:3:35: defaults.webhook.secret_file: cannot be read"),
        ("{webhook: {url: '${GONE}'}}", "p.yaml:3:27: defaults.webhook.url: the environment variable GONE"),
        ("{webhook: {body: '{{ rom }}'}}", "p.yaml:3:28: defaults.webhook.body: "),
        ("{webhook: {type: log}}", "p.yaml:3:22: defaults.webhook.type: a default cannot be of another type"),
        ("{webhok: {timeout: 10s}}", "p.yaml:3:12: defaults.webhok: no plugin offers this type of sink"),
        ("{webhook: 5}", "p.yaml:3:21: defaults.webhook: must be a mapping (key: value)"),
        ("[webhook]", "p.yaml:3:11: defaults: must be a mapping of types of sinks to their options"),
    ],
)
@pytest.mark.parametrize(
    "sinks",
    [
        "{x: {type: log}}",
        "{x: {type: webhook, url: 'http://[::1]/'}, y: {type: webhook, url: 'http://[::1]/y'}}",
    ],
)
def test_a_mistake_is_told_once_where_it_stands_whether_a_sink_has_it_or_not(
    tmp_path: Path, defaults: str, expected: str, sinks: str
) -> None:
    [found] = complaints(f"defaults: {defaults}\nsinks: {sinks}", tmp_path)
    assert found.startswith(expected)


def test_what_only_a_sink_can_show_points_at_the_default_it_comes_from(tmp_path: Path) -> None:
    text = "defaults: {file: {path: out}}\nsinks: {a: {type: file}, b: {type: file}}"
    [found] = complaints(text, tmp_path)
    assert found == "p.yaml:3:25: sinks.b.path: sink a writes to the same file (line 3)"
    [found] = complaints("defaults: {webhook: {timeout: 5s}}\nsinks: {a: {type: webhook}}", tmp_path)
    assert found == "p.yaml:4:9: sinks.a.url: is missing", "nothing is missing in the defaults themselves"


def test_a_secret_of_the_defaults_is_one_and_a_sinks_own_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("whsec_" + "A" * 43 + "=")
    (tmp_path / "key").chmod(0o622)
    default = "defaults: {webhook: {url: 'https://x.example', secret_file: key}}"
    text = f"{default}\nsinks: {{a: {{type: webhook}}, b: {{type: webhook}}}}"
    [found] = complaints(text, tmp_path)
    assert found.startswith("p.yaml:3:61: ")
    assert "is writable by everyone" in found
    (tmp_path / "key").chmod(0o600)
    made = config(text, tmp_path)
    assert made.rotating is not None
    assert set(made.rotating.secrets) == {("sinks", "a", "secret"), ("sinks", "b", "secret")}
    own = config(
        text.replace(
            "b: {type: webhook}", "b: {type: webhook, secret: whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldY}"
        ),
        tmp_path,
    )
    assert own.rotating is not None
    assert set(own.rotating.secrets) == {("sinks", "a", "secret")}


@pytest.mark.parametrize(
    ("defaults", "fine"),
    [
        ("{webhook: {timeout: 10s, retry: {max: 5m}}, file: {rotate: {size: 1MB}}}", True),
        ("{webhook: {secret_file: p}}", True),
        ("{webhook: {tiemout: 10s}}", False),
        ("{webhook: {type: webhook}}", False),
        ("{webhok: {}}", False),
    ],
)
def test_the_schema_for_editors_knows_them(defaults: str, fine: bool) -> None:
    text = f"{HEAD}sinks: {{x: {{type: log}}}}\ndefaults: {defaults}"
    assert Draft7Validator(schema(TYPES)).is_valid(yaml.safe_load(text)) is fine
