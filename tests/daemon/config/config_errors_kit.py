"""Configurations with mistakes, and what is said of them."""

from typing import Any

import pytest
from pydantic import Field, field_validator, model_validator

from tdbwatch.daemon.config import ConfigError, Problem, parse
from tdbwatch.plugin import Duration, FilePath, OptionError, Options, Secret, SinkType
from tdbwatch.sinks.file.options import FileOptions
from tdbwatch.sinks.webhook.options import WebhookOptions

from .config_kit import Idle, has_remedy

GOOD = {
    "thingsdb": "{nodes: [node01], auth: {token: t0ken}}",
    "rooms": "[alerts]",
    "sinks": "{console: {type: log}}",
}


class Basic(Options):
    user: str


class Bearer(Options):
    token: str


class HookOptions(Options):
    url: str
    auth: Basic | list[Bearer] | None = None
    wait: Duration = 1.0
    count: int = 1
    secret: Secret | None = None
    crash: bool = False

    @field_validator("secret")
    @classmethod
    def _tells(cls, value: Secret) -> Secret:
        raise ValueError(f"bad secret {value.get_secret_value()}")

    @model_validator(mode="after")
    def _explode(self) -> Any:
        if self.crash:
            raise RuntimeError(self.url)
        return self


class FixedOptions(Options):
    url: Secret

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: Secret) -> Secret:
        text = value.get_secret_value()
        if text.startswith("no-"):
            raise ValueError(f"{text} has no host")
        raise OptionError("this is no URL", "write for instance https://example.org/hook")


class HeaderOptions(Options):
    headers: dict[str, Secret] = Field(default_factory=dict)
    keys: list[Secret] = Field(default_factory=list)
    folder: FilePath | None = None


TYPES = {
    "headers": SinkType("headers", Idle, HeaderOptions),
    "file": SinkType("file", Idle, FileOptions),
    "log": SinkType("log", Idle),
    "hook": SinkType("hook", Idle, HookOptions),
    "fixed": SinkType("fixed", Idle, FixedOptions),
    "webhook": SinkType("webhook", Idle, WebhookOptions),
}


def problems(text: str | bytes, environ: dict[str, str] | None = None) -> tuple[Problem, ...]:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse(content, "prod.yaml", environ or {}).config(TYPES)
    assert caught.value.problems
    for found in caught.value.problems:
        assert has_remedy(found), f"no remedy: {found}"
    return caught.value.problems


def problem(text: str | bytes, environ: dict[str, str] | None = None) -> str:
    found = problems(text, environ)
    assert len(found) == 1, "\n".join(map(str, found))
    return str(found[0])


def with_(**sections: str | None) -> str:
    parts = {**GOOD, **sections}
    return "\n".join(f"{name}: {text}" for name, text in parts.items() if text is not None)


def thingsdb(text: str) -> str:
    return with_(thingsdb=f"{{nodes: [a], auth: {{token: t}}, {text}}}")


def sink(text: str) -> str:
    return with_(sinks=f"{{s: {{{text}}}}}")
