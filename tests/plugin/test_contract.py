"""A contract that is broken is refused when the plugin is loaded, at the author's own line."""

from pathlib import Path
from textwrap import dedent

import pytest

from tdbwatch.daemon.config.models.sinks import SinkSettings
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import Duration, Event, Options, SinkType, Template
from tdbwatch.plugin.contract import RESERVED

HEAD = """
from tdbwatch.plugin import Duration, Event, Options, Secret, Sink, SinkType, sink
from pydantic import BaseModel, Field
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("@sink  # !\ndef mine(event): pass", 'write @sink("NAME")'),
        ("@sink('')  # !\ndef mine(event): pass", "cannot be the name of a sink type"),
        ("@sink('a b')  # !\ndef mine(event): pass", "cannot be the name of a sink type"),
        ("@sink('x' * 65)  # !\ndef mine(event): pass", "cannot be the name of a sink type"),
        ("@sink('mine')  # !\ndef mine(): pass", "write def mine(event)"),
        ("@sink('mine')  # !\ndef mine(event, options): pass", "write def mine(event)"),
        ("@sink('mine', options=Options)  # !\ndef mine(event): pass", "write def mine(event, options)"),
        ("@sink('mine')  # !\nasync def mine(event): yield", "mine is a generator"),
        ("@sink('mine')  # !\nclass Mine: pass", "no subclass of tdbwatch.plugin.Sink"),
        ("@sink('mine', batch_count=0)  # !\ndef mine(event): pass", "batch_count is 0"),
        ("@sink('mine')  # !\nclass Mine(Sink): pass", "has no deliver"),
        (
            "@sink('mine')  # !\nclass Mine(Sink):\n    def deliver(self, batch): pass",
            "Mine.deliver is not async; write async def deliver(self, batch)",
        ),
        (
            "@sink('mine')  # !\nclass Mine(Sink):\n    async def deliver(self): pass",
            "write async def deliver(self, batch)",
        ),
        (
            "@sink('mine')  # !\nclass Mine(Sink):\n    async def deliver(self, batch): pass\n"
            "    def close(self): pass",
            "Mine.close is not async",
        ),
        (
            "@sink('mine')  # !\nclass Mine(Sink):\n    async def deliver(self, batch): pass\n"
            "    def __init__(self): pass",
            "write def __init__(self, options, context)",
        ),
        (
            "class Mine(BaseModel): pass\n@sink('mine', options=Mine)  # !\ndef mine(event, options): pass",
            "the options, Mine, are no subclass of tdbwatch.plugin.Options",
        ),
        (
            "class Mine(Options): retry: int\n"
            "@sink('mine', options=Mine)  # !\ndef mine(event, options): pass",
            "every sink has a key 'retry' already",
        ),
        (
            "class Mine(Options): kind: int = Field(alias='type')\n"
            "@sink('mine', options=Mine)  # !\ndef mine(event, options): pass",
            "every sink has a key 'type' already",
        ),
        (
            "class Mine(Options): pause: Duration = '5s'\n"
            "@sink('mine', options=Mine)  # !\ndef mine(event, options): pass",
            "Mine: the default of pause is text, and no float; defaults are values",
        ),
        (
            "class Mine(Options): token: Secret = 'none'\n"
            "@sink('mine', options=Mine)  # !\ndef mine(event, options): pass",
            "the default of token is text, and no SecretStr",
        ),
    ],
)
def test_it_is_refused_with_file_and_line(tmp_path: Path, code: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + code)
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "# !" in text)
    (problem,) = load_plugins([tmp_path]).problems
    assert said in problem.reason
    assert problem.where == f"{file}:{line}"


def test_whatever_can_be_called_as_a_sink_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        HEAD
        + dedent(
            """
            import functools
            from tdbwatch.plugin import Duration

            def decorated(function):
                @functools.wraps(function)
                def call(*arguments):
                    return function(*arguments)
                return call

            class Mine(Options):
                timeout: Duration = 1.0

            @sink("one")
            @decorated
            def one(event): pass

            @sink("two", options=Mine)
            async def two(*arguments, **more): pass

            @sink("three")
            class Three(Sink):
                @decorated
                async def deliver(self, batch, more=None): pass

            @sink("four")
            class Four(Three):
                Options = Mine
            """
        )
    )
    registry = load_plugins([tmp_path])
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("one", "two", "three", "four")


def test_what_is_reserved_is_a_key_of_every_sink() -> None:
    assert set(SinkSettings.model_fields) > RESERVED


def test_an_option_that_is_the_sinks_own_timeout_is_a_duration() -> None:
    class Wrong(Options):
        timeout: float = 30.0

    class Right(Options):
        timeout: Duration = 30.0

    with pytest.raises(
        ValueError, match="Wrong: every sink has a timeout, and this one is the same; annotate"
    ):
        SinkType("x", lambda *_: None, Wrong)  # type: ignore[arg-type,return-value]
    SinkType("x", lambda *_: None, Right)  # type: ignore[arg-type,return-value]


def test_a_template_may_be_the_default_of_an_option() -> None:
    class Titled(Options):
        title: Template = Template("{{ room }}")

    assert Titled().title.render(Event.create("alerts")) == "alerts"
    assert Titled.model_json_schema()["properties"]["title"]["default"] == "{{ room }}"
