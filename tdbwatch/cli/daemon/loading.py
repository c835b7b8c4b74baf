"""Reads a configuration and its plugins for a command, and explains to people what is wrong with it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Final

import structlog

from tdbwatch.daemon import logs
from tdbwatch.daemon.config import Config, ConfigError, Problem, read
from tdbwatch.daemon.plugins import Registry, load_plugins
from tdbwatch.daemon.plugins.absent import stand_in
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.redaction import redact
from tdbwatch.sinks.file.guarded import guarded

_RESTART: Final = "restart when it suits: until then the plugins stay as they were loaded"


def reader_of(path: Path, registry: Registry) -> Callable[[], Config]:
    """What reads the file again, for the plugins that are loaded; blocks, and raises `ConfigError`."""
    path = path.absolute()

    def read_again() -> Config:
        document = read(path)
        guarded.protect(document.files)
        document.plugins()
        waiting = _waiting(path, registry)
        try:
            config = document.config(registry.sink_types)
        except ConfigError as error:  # perhaps it is written for the plugins that are on disk by now
            error.problems += tuple(waiting)
            raise
        redact.remember(secrets_in(config))
        return config.model_copy(update={"warnings": (*config.warnings, *waiting)})

    return read_again


def _waiting(path: Path, registry: Registry) -> list[Problem]:
    """What of the plugins on disk only a restart takes up."""
    changes = registry.on_disk.changes() if registry.on_disk else ()
    return [
        Problem(str(path), 0, 0, "plugins", f"{change} since tdbwatch was started", _RESTART, True)
        for change in changes
    ]


@contextmanager
def quietly() -> Iterator[None]:
    """While plugins are loaded by a command that tells of their problems itself: nothing is logged.

    What they print goes to standard error, since others read what the command says.
    """
    logs.configure("critical", stream=sys.stderr)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logs.reset()


def load_or_explain(path: Path) -> tuple[Config, Registry] | None:
    """The configuration and the plugins; None after the problems were written to standard error."""
    try:
        document = read(path)
        if not structlog.is_configured():  # plugins' problems are for people, not for who reads our output
            logs.configure(stream=sys.stderr)
        guarded.protect(document.files)
        section = document.plugins()
        with redirect_stdout(sys.stderr):
            registry = load_plugins(section.paths, section.disable)
            stand_in(registry, document.wanted_types(), document.wanted_hooks())
            config = document.config(registry.sink_types)
            redact.remember(secrets_in(config))
            registry.configure(config.plugin_options)
        return config, registry
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None
