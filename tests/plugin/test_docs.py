"""The documents say everything that users can write, and what they show works."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import tdbwatch.plugin
import tdbwatch.testing
import tdbwatch.testing.fixtures
from tdbwatch.daemon.config import parse
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.exceptions import NotConnectedError
from tdbwatch.plugin import DELIVERED, Event, Kind, Options, Template
from tdbwatch.plugin.hooks import HookSpecs
from tdbwatch.plugin.options import parse_duration, parse_size
from tdbwatch.testing import deliver, make_event

DOCS = Path(__file__).parents[2] / "docs"


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys that users can write, with those of models within."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in models_in(field.annotation):
            yield from keys_of(inner, f"{prefix}{name}.")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in get_args(annotation) or (annotation,):
        if isinstance(part, type) and issubclass(part, Options):
            yield part


def section(document: str, heading: str) -> str:
    text = (DOCS / document).read_text()
    found = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no section {heading}"
    return found[1]


@pytest.mark.parametrize("name", ["log", "file", "webhook", "exec", "thingsdb"])
def test_exactly_the_options_of_a_built_in_sink_are_in_its_table(name: str) -> None:
    registry = load_plugins()
    told = re.findall(r"^\| `([a-z_.]+)` \|", section("sinks.md", name), re.MULTILINE)
    assert told == list(keys_of(registry.sink_types[name].options))


@pytest.mark.parametrize("name", ["log", "file", "webhook", "exec", "thingsdb"])
def test_every_option_has_a_description(name: str) -> None:
    def undescribed(model: type[BaseModel]) -> Iterator[str]:
        for key, field in model.model_fields.items():
            if not field.description:
                yield f"{model.__name__}.{key}"
            for inner in models_in(field.annotation):
                yield from undescribed(inner)

    assert list(undescribed(load_plugins().sink_types[name].options)) == []


def test_every_sink_type_has_a_summary() -> None:
    assert [name for name, made in load_plugins().sink_types.items() if not made.summary] == []


def test_exactly_the_hooks_that_there_are_are_in_their_table() -> None:
    told = re.findall(r"^\| `(\w+)\(", section("plugins.md", "Hooks"), re.MULTILINE)
    assert told == [name for name in vars(HookSpecs) if not name.startswith("_")]


def test_everything_that_plugins_may_import_is_in_the_document() -> None:
    text = (DOCS / "plugins.md").read_text()
    public = [*tdbwatch.plugin.__all__, *tdbwatch.testing.__all__]
    beside = {
        "Delivered",
        "Counter",
        "Gauge",
        "Histogram",
        "SinkMetrics",
        "SinkClient",
        "SinkStore",
        "Kind",
        "Outcome",
        "SinkContext",
        "hookspec",
        "make_event",
        "settle",
    }
    assert [name for name in public if name not in text and name not in beside] == []


@pytest.mark.parametrize("kind", list(Kind))
def test_every_key_of_a_record_is_in_the_document(kind: Kind) -> None:
    text = (DOCS / "records.md").read_text()
    record = Event.create(kind=kind, args=[1], arg_names=["a"]).record()
    assert f"`{kind}`" in text
    assert [key for key in record if f"| `{key}` |" not in text] == []


def python_of(document: str, heading: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", section(document, heading), re.MULTILINE | re.DOTALL)


@pytest.fixture
def shown(tmp_path: Path) -> Any:
    """Make a plugin file of a piece of the document and load it."""

    def shown(code: str) -> Any:
        folder = tmp_path / "plugins.d"
        folder.mkdir(mode=0o755)
        (folder / "shout.py").write_text(code)
        (folder / "shout.py").chmod(0o644)
        registry = load_plugins([folder])
        assert registry.problems == []
        return registry

    yield shown
    sys.modules.pop("tdbwatch_plugin_shout", None)


def test_the_ten_lines_work_and_are_ten(shown: Any, capfd: pytest.CaptureFixture[str]) -> None:
    (code,) = python_of("plugins.md", "Ten lines")
    assert len(code.splitlines()) <= 10
    registry = shown(code)
    assert deliver(registry.sink_types["shout"], make_event("alerts", "disk-full", [91])) == [DELIVERED]
    assert "alerts DISK-FULL [91]" in capfd.readouterr().out


def test_the_options_that_are_shown_work(shown: Any, capfd: pytest.CaptureFixture[str]) -> None:
    (code,) = python_of("plugins.md", "A type of sink, with options")
    registry = shown(code)
    options = {"prefix": ">", "pause": "2s", "token": "x"}
    assert deliver(registry.sink_types["shout"], make_event("alerts", "boom"), options) == [DELIVERED]
    assert "> boom" in capfd.readouterr().out


async def test_the_hook_that_is_shown_works(shown: Any, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, _ = python_of("plugins.md", "Hooks")
    await shown(code).notify_started("9.9")
    assert "tdbwatch 9.9 runs" in capfd.readouterr().out


def test_the_options_without_a_sink_that_are_shown_work(
    shown: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, code, _ = python_of("plugins.md", "Hooks")
    written, _ = re.findall(r"^```yaml\n(.*?)^```", section("plugins.md", "Hooks"), re.MULTILINE | re.DOTALL)
    registry = shown(code)
    (tmp_path / "geo.key").write_text("a key")
    base = (
        "thingsdb: {nodes: [localhost], auth: {token: t}}\nrooms: [alerts]\nsinks: {console: {type: log}}\n"
    )
    written = written.replace("/etc/tdbwatch", str(tmp_path))
    config = parse((base + written).encode(), "prod.yaml", {}).config(registry.sink_types)
    registry.configure(config.plugin_options)
    assert config.plugin_options["shout"].key.get_secret_value() == "a key"  # type: ignore[attr-defined]
    assert "looks hosts up in /var/lib/geo.db" in capfd.readouterr().out


def test_the_functions_and_filters_that_are_shown_work(shown: Any) -> None:
    _, _, code = python_of("plugins.md", "Hooks")
    _, written = re.findall(r"^```yaml\n(.*?)^```", section("plugins.md", "Hooks"), re.MULTILINE | re.DOTALL)
    registry = shown(code)
    base = "thingsdb: {nodes: [localhost], auth: {token: t}}\nrooms: [alerts]\n"
    config = parse((base + written).encode(), "prod.yaml", {}).config(registry.sink_types)
    decide = Router(config.routes, {"console": frozenset()}).decide
    assert decide(make_event("alerts", "x", ["db1"]))["console"] == {"owner": "ann"}
    message: Template = config.sinks[0].options.message  # type: ignore[attr-defined]
    assert message.render(make_event("alerts", "x", ["db2"])) == "alerts: nobody"
    load_plugins()  # without them


def test_the_store_that_is_shown_works(shown: Any, capfd: pytest.CaptureFixture[str]) -> None:
    (code,) = python_of("plugins.md", "Remembering")
    events = [make_event("alerts", "boom"), make_event("alerts", "boom")]
    assert deliver(shown(code).sink_types["shout"], events) == [DELIVERED, DELIVERED]
    assert "boom: 2 so far" in capfd.readouterr().out


def test_the_call_of_thingsdb_that_is_shown_works(shown: Any) -> None:
    (code,) = python_of("plugins.md", "Asking ThingsDB")
    registry = shown(code)
    with pytest.raises(NotConnectedError, match="no connection to ThingsDB here"):
        deliver(registry.sink_types["shout"], make_event("alerts", "boom", ["db1"]))


def test_the_tests_that_are_shown_pass(tmp_path: Path) -> None:
    (code,) = python_of("plugins.md", "Ten lines")
    plain, clock, kit, server, conftest, daemon = python_of("plugins.md", "Testing")
    (tmp_path / "shout.py").write_text(code)
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_shout.py").write_text(plain + clock + kit + server + daemon)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = sum(name.startswith("test_") for name in dir(tdbwatch.testing.SinkConformance))
    assert f"{checks + 4 - 5} passed, 5 skipped" in done.stdout


def test_all_that_the_kit_may_be_told_is_in_its_table() -> None:
    told = re.findall(r"^\| `(\w+)(?:\(\w*\))?` \|", section("plugins.md", "Testing"), re.MULTILINE)
    public = {name for name in dir(tdbwatch.testing.SinkConformance) if not name.startswith(("_", "test_"))}
    fixtures = re.findall(
        r"^@pytest.fixture\ndef (\w+)", inspect.getsource(tdbwatch.testing.fixtures), re.MULTILINE
    )
    assert set(told) == (public - {"sink", "options"}) | set(fixtures)


def test_the_durations_and_sizes_that_are_shown_are_some() -> None:
    table = section("plugins.md", "A type of sink, with options")
    durations = re.search(r"\| `Duration` \| (.*?);", table)
    sizes = re.search(r"\| `Size` \| (.*?);", table)
    assert durations
    assert sizes
    assert [parse_duration(text) for text in re.findall(r"`(.*?)`", durations[1])] == [0.5, 10, 300, 604_800]
    assert [parse_size(text) for text in re.findall(r"`(.*?)`", sizes[1])] == [512_000, 10_000_000, 1 << 30]


def test_links_between_the_documents_lead_somewhere() -> None:
    for name in ("plugins.md", "records.md", "sinks.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (DOCS / name).read_text()):
            assert (DOCS / target).exists(), f"{name}: {target}"
