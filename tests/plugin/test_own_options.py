"""A plugin may have options of its own, without a sink: `plugins.options.NAME`, for `tdbwatch_config`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tdbwatch.daemon.config import Config, ConfigError, parse
from tdbwatch.daemon.config.schema import schema
from tdbwatch.daemon.plugins import Registry, load_plugins
from tdbwatch.daemon.security.rotation import Rotation
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.plugin import Secret
from tdbwatch.testing import ManualClock

CODE = """
from __future__ import annotations
from tdbwatch.plugin import *
heard = []

class GeoOptions(Options):
    database: FilePath
    key: Secret | None = None
    ttl: Duration = 60.0

@hookimpl
def tdbwatch_config(options: GeoOptions):
    heard.append(options)
"""
BASE = "thingsdb: {nodes: [localhost], auth: {token: t}}\nrooms: [alerts]\nsinks: {console: {type: log}}\n"

Load = Callable[..., Registry]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load one plugin, `geo`, that has this code."""
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)

    def load(code: str = CODE) -> Registry:
        (folder / "geo.py").write_text(dedent(code))
        return load_plugins([folder])

    yield load
    sys.modules.pop("tdbwatch_plugin_geo", None)


def configured(registry: Registry, more: str, file: Path | str = "prod.yaml") -> Config:
    return parse((BASE + more).encode(), str(file), {"KEY": "k2"}).config(registry.sink_types)


def heard() -> list[Any]:
    found: list[Any] = sys.modules["tdbwatch_plugin_geo"].heard  # type: ignore[attr-defined]
    return found


def test_the_hook_gets_them_checked_and_with_secrets_from_files(load: Load, tmp_path: Path) -> None:
    registry = load()
    (tmp_path / "key").write_text("from a file\n")
    config = configured(
        registry,
        "plugins: {options: {geo: {database: geo.db, key_file: key, ttl: 5m}}}",
        tmp_path / "prod.yaml",
    )
    registry.configure(config.plugin_options)
    (options,) = heard()
    assert (options.database, options.ttl) == (tmp_path / "geo.db", 300.0)
    assert options.key.get_secret_value() == "from a file"
    assert "from a file" in set(secrets_in(config))
    assert "from a file" not in repr(config)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "prod.yaml:1:1: plugins.options.geo.database: is missing"),
        (
            "plugins: {options: {geo: {database: x, tll: 5m}}}",
            "prod.yaml:4:40: plugins.options.geo.tll: unknown key",
        ),
        (
            "plugins: {options: {geo: {database: x, ttl: 5}}}",
            "plugins.options.geo.ttl: a number without a unit",
        ),
        (
            "plugins: {options: {geo: {database: x}, goe: {}}}",
            "prod.yaml:4:41: plugins.options.goe: no plugin of this name has options",
        ),
        ("plugins: {options: {geo: {database: x}, goe: {}}}", "did you mean geo?"),
        (
            "plugins: {options: {geo: {database: x}, log: {}}}",
            "the options of sinks stand with the sink: sinks: {log: {...}}",
        ),
        ("plugins: {options: {geo: 5}}", "plugins.options.geo: must be a mapping"),
        ("plugins: {options: 5}", "plugins.options: must be a mapping"),
    ],
)
def test_mistakes_are_told_with_their_place_and_remedy(load: Load, written: str, complaint: str) -> None:
    registry = load()
    with pytest.raises(ConfigError) as error:
        configured(registry, written)
    assert complaint in str(error.value)


def test_where_nothing_is_written_and_nothing_is_needed_it_gets_the_defaults(load: Load) -> None:
    options = configured(load(CODE.replace("    database: FilePath\n", "")), "").plugin_options
    assert options["geo"].ttl == 60.0  # type: ignore[attr-defined]


def test_a_secret_in_its_options_may_be_rotated(load: Load, tmp_path: Path) -> None:
    registry, key = load(), tmp_path / "key"
    key.write_text("old")
    written = "plugins: {options: {geo: {database: x, key_file: key}}}"
    config = configured(registry, written, tmp_path / "prod.yaml")
    assert config.rotating is not None
    key.write_text("new")
    Rotation(config.rotating, ManualClock())._renew(config.rotating.read_again())
    found: Secret = config.plugin_options["geo"].key  # type: ignore[attr-defined]
    assert found.get_secret_value() == "new"


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("def tdbwatch_config(options):", "annotate its argument with their model"),
        ("def tdbwatch_config(options: dict):", "a subclass of tdbwatch.plugin.Options"),
        ("def tdbwatch_config(options: Nowhere):", "cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_a_hook_that_does_not_say_which_options_is_reported_when_it_is_loaded(
    load: Load, hook: str, said: str
) -> None:
    registry = load(CODE.replace("def tdbwatch_config(options: GeoOptions):", hook))
    (problem,) = registry.problems
    assert said in str(problem)
    assert registry.sink_types.plugin_options == {}


@pytest.mark.parametrize(
    ("does", "said", "seconds"),
    [("1 / 0", "ZeroDivisionError", 30.0), ("__import__('time').sleep(30)", "did not return", 0.1)],
)
def test_a_hook_that_fails_or_hangs_is_told_of_with_its_name(
    load: Load, does: str, said: str, seconds: float
) -> None:
    registry = load(CODE.replace("heard.append(options)", does))
    registry.hook_seconds = seconds
    registry.configure(configured(registry, "plugins: {options: {geo: {database: x}}}").plugin_options)
    (problem,) = registry.problems
    assert (problem.plugin, said in problem.reason) == ("geo", True)


def test_they_are_in_the_schema(load: Load) -> None:
    made = schema(load().sink_types)["definitions"]["PluginsConfig"]["properties"]["options"]
    geo = made["anyOf"][0]["properties"]["geo"] if "anyOf" in made else made["properties"]["geo"]
    assert {"database", "key", "key_file", "ttl"} <= geo["properties"].keys()
    assert geo["required"] == ["database"]


async def test_the_verdict_of_a_reload_is_told_to_each_plugin_as_its_own_copy(load: Load) -> None:
    registry = load(
        """
        from tdbwatch.plugin import hookimpl
        heard = []

        @hookimpl
        def tdbwatch_reloaded(verdict):
            heard.append(dict(verdict))
            verdict.clear()
        """
    )
    verdict = {"verdict": "accepted", "changes": ["sinks.console"]}
    await registry.notify_reloaded(verdict)
    assert heard() == [verdict] == [{"verdict": "accepted", "changes": ["sinks.console"]}]
