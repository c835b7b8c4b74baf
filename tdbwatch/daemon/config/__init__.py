"""The daemon's configuration: one YAML file, checked before anything starts.

    document = read("prod.yaml")
    registry = load_plugins(document.plugins().paths, ...)
    config = document.config(registry.sink_types)

Every way that a file can be wrong ends in one `ConfigError`, whose text names file, line, column, the key's
path and a remedy. All problems that can be found at once are.
"""

from tdbwatch.daemon.config.document import Checked, Document, load, parse, read
from tdbwatch.daemon.config.models.config import (
    Config,
    HttpConfig,
    LoggingConfig,
    PluginsConfig,
    ShutdownConfig,
    SpoolConfig,
)
from tdbwatch.daemon.config.models.routes import MatchConfig, RouteConfig
from tdbwatch.daemon.config.models.sinks import BatchConfig, RetryConfig, SinkConfig, SinkSettings
from tdbwatch.daemon.config.models.thingsdb import (
    AuthConfig,
    HeartbeatConfig,
    RoomConfig,
    ThingsDBConfig,
    TlsConfig,
)
from tdbwatch.daemon.config.outline import Outline
from tdbwatch.daemon.config.problems import ConfigError, Problem

__all__ = [
    "AuthConfig",
    "BatchConfig",
    "Checked",
    "Config",
    "ConfigError",
    "Document",
    "HeartbeatConfig",
    "HttpConfig",
    "LoggingConfig",
    "MatchConfig",
    "Outline",
    "PluginsConfig",
    "Problem",
    "RetryConfig",
    "RoomConfig",
    "RouteConfig",
    "ShutdownConfig",
    "SinkConfig",
    "SinkSettings",
    "SpoolConfig",
    "ThingsDBConfig",
    "TlsConfig",
    "load",
    "parse",
    "read",
]
